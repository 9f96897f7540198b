//! The ports this server listens on, and their moving when a new configuration says so.
//!
//! A port is let go before the next one is taken, for both may be the same number on another address. What is connected
//! stays so.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use zk_proto::quorum::Member;
use zk_proto::quorum::config::Address;

use super::learners::{self, Learners};
use super::mesh::{self, Mesh};
use super::sockets::{Binding, QuorumPorts};
use crate::config::{Config, Ensemble as Settings, is_any};
use crate::server::Server;

/// See the module's header.
pub(crate) struct Ports {
    backlog: i32,
    /// What is listened on, for other servers and for clients.
    bound: RefCell<Vec<Address>>,
    client: RefCell<(Option<String>, u16)>,
    /// The tasks that accept other servers.
    accepting: RefCell<Vec<JoinHandle<()>>>,
}

impl Ports {
    pub(crate) fn new(config: &Config) -> Rc<Self> {
        let me = config.ensemble.as_ref().and_then(Settings::me);
        Rc::new(Self {
            backlog: config.client_port_listen_backlog,
            bound: RefCell::new(me.map(|m| m.addresses.clone()).unwrap_or_default()),
            client: RefCell::new((config.client_host.clone(), config.client_port)),
            accepting: RefCell::default(),
        })
    }

    /// Accepts other servers from now on.
    pub(crate) fn listen(&self, ports: QuorumPorts, mesh: &Rc<Mesh>, links: &Rc<Learners>) -> io::Result<()> {
        let of_tokio = |listener: StdListener| TcpListener::from_std(listener);
        let mut accepting = self.accepting.borrow_mut();
        for listener in ports.election {
            accepting.push(spawn_local(mesh::accept(mesh.clone(), of_tokio(listener)?)));
        }
        for listener in ports.quorum {
            accepting.push(spawn_local(learners::accept(links.clone(), of_tokio(listener)?)));
        }
        Ok(())
    }

    /// Moves to where the configuration in force says this server is.
    pub(crate) fn follow(self: &Rc<Self>, server: &Rc<Server>, settings: &Settings, me: Member) {
        if let Some((host, port)) = &me.client {
            let client = (Some(host.clone()).filter(|h| !is_any(h)), *port);
            if *self.client.borrow() != client {
                *self.client.borrow_mut() = client.clone();
                spawn_local(move_client_port(server.clone(), client, self.backlog));
            }
        }
        if *self.bound.borrow() != me.addresses {
            *self.bound.borrow_mut() = me.addresses.clone();
            let binding = Binding::new(settings, self.backlog);
            spawn_local(self.clone().move_quorum_ports(server.clone(), binding, me));
        }
    }

    async fn move_quorum_ports(self: Rc<Self>, server: Rc<Server>, binding: Binding, me: Member) {
        let before = std::mem::take(&mut *self.accepting.borrow_mut());
        for accepting in before {
            accepting.abort();
            let _ = accepting.await;
        }
        let taken = spawn_blocking(move || binding.take(&me)).await;
        let Some(ensemble) = &server.ensemble else { return };
        match taken {
            Ok(Ok(ports)) => {
                if let Err(error) = self.listen(ports, &ensemble.mesh, &ensemble.learners) {
                    tracing::error!(%error, "the new ports between servers cannot be served");
                } else {
                    tracing::info!("the ports between servers have moved with the configuration");
                }
            }
            Ok(Err(error)) => tracing::error!("{error}; other servers cannot reach this one"),
            Err(error) => tracing::error!(%error, "moving the ports between servers ended unexpectedly"),
        }
    }
}

async fn move_client_port(server: Rc<Server>, (host, port): (Option<String>, u16), backlog: i32) {
    server.stop_accepting();
    // The task that held the port ends when it is polled next.
    tokio::task::yield_now().await;
    let bound = spawn_blocking(move || crate::listener::bind(host.as_deref(), port, backlog)).await;
    let listener = match bound {
        Ok(Ok(listener)) => TcpListener::from_std(listener).map_err(|e| e.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match listener {
        Ok(listener) => {
            tracing::info!(port, "the client port has moved with the configuration");
            server.accept_clients(listener);
        }
        Err(why) => tracing::error!("{why}; no client can connect any more"),
    }
}
