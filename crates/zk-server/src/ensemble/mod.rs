//! Among other servers: the sockets and names a server of an ensemble needs, each in the service of `zk-zab`.
//!
//! [`mesh`] carries votes, [`learners`] serves those who follow this server, [`leader_link`] is the way to the server
//! that this one follows. None of them decides anything: what they hear becomes an [`Input`], what they are told is an
//! effect.

pub(crate) mod mesh;
pub(crate) mod sockets;

use std::rc::Rc;

use zk_zab::Input;

/// Takes what was heard, empties the list, and carries out what follows from it.
pub(crate) type Sink = Rc<dyn Fn(&mut Vec<Input>)>;
