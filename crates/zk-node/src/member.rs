//! A server as shells and the simulation drive it: a [`Node`] alone, or a node and its place in an ensemble.

use crate::effect::Effects;
use crate::input::{Input, Now};
use crate::node::Node;

/// See the module's header.
pub struct Member {
    node: Node,
}

impl Member {
    /// A server without an ensemble.
    pub fn alone(node: Node) -> Self {
        Self { node }
    }

    /// Takes one input; what is to be done about it is added to `fx`.
    pub fn step(&mut self, now: Now, input: Input<'_>, fx: &mut Effects) {
        self.node.step(now, input, fx);
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// The invariants, for tests and simulation. Panics with what is broken.
    pub fn check(&self) {
        self.node.check();
    }
}
