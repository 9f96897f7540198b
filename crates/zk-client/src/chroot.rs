//! The part of the tree a client calls `/`.

use zk_proto::{MultiOp, MultiResult, Request, Response, path};

use crate::error::{Result, ZkError};

/// Empty, or an absolute path without a slash behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chroot {
    prefix: String,
}

impl Chroot {
    pub(crate) fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text == "/" {
            return Ok(Self::default());
        }
        check_path(text)?;
        Ok(Self { prefix: text.to_owned() })
    }

    /// `below` inside this one.
    pub(crate) fn join(&self, below: &Self) -> Self {
        Self { prefix: format!("{}{}", self.prefix, below.prefix) }
    }

    /// The server's path for the client's.
    pub(crate) fn add(&self, path: &str) -> String {
        match path {
            "/" if !self.prefix.is_empty() => self.prefix.clone(),
            _ => format!("{}{path}", self.prefix),
        }
    }

    /// The client's path for the server's. What lies outside (the server's own nodes) stays as it is.
    pub(crate) fn strip(&self, path: String) -> String {
        match path.strip_prefix(self.prefix.as_str()) {
            _ if self.prefix.is_empty() => path,
            Some("") => "/".into(),
            Some(rest) if rest.starts_with('/') => rest.into(),
            _ => path,
        }
    }

    /// Checks every path of a request and puts the chroot before it.
    pub(crate) fn add_to_request(&self, request: &mut Request) -> Result<()> {
        match request {
            Request::Create(create) => self.add_to_created(&mut create.path, create.flags),
            Request::Delete { path, .. }
            | Request::DeleteContainer { path }
            | Request::Exists { path, .. }
            | Request::GetData { path, .. }
            | Request::SetData { path, .. }
            | Request::GetAcl { path }
            | Request::SetAcl { path, .. }
            | Request::GetChildren { path, .. }
            | Request::GetChildren2 { path, .. }
            | Request::Sync { path }
            | Request::Check { path, .. }
            | Request::CheckWatches { path, .. }
            | Request::RemoveWatches { path, .. }
            | Request::AddWatch { path, .. }
            | Request::GetAllChildrenNumber { path } => self.add_checked(path),
            Request::GetEphemerals { prefix } => {
                prefix.iter_mut().try_for_each(|path| self.add_checked(path))
            }
            Request::Multi(ops) => ops.iter_mut().try_for_each(|op| match op {
                MultiOp::Create(create) => self.add_to_created(&mut create.path, create.flags),
                MultiOp::Delete { path, .. }
                | MultiOp::SetData { path, .. }
                | MultiOp::Check { path, .. } => self.add_checked(path),
            }),
            Request::MultiRead(ops) => ops.iter_mut().try_for_each(|op| match op {
                zk_proto::MultiReadOp::GetData { path } | zk_proto::MultiReadOp::GetChildren { path } => {
                    self.add_checked(path)
                }
            }),
            _ => Ok(()),
        }
    }

    /// Takes the chroot off every path of a reply.
    pub(crate) fn strip_response(&self, response: &mut Response, is_ephemerals: bool) {
        let strip = |path: &mut String| *path = self.strip(std::mem::take(path));
        match response {
            Response::Path { path } | Response::PathStat { path, .. } => strip(path),
            // Children are names, ephemerals are paths.
            Response::Children { children } if is_ephemerals => children.iter_mut().for_each(strip),
            Response::Multi(results) => results.iter_mut().for_each(|result| match result {
                MultiResult::Create { path } | MultiResult::Create2 { path, .. } => strip(path),
                _ => {}
            }),
            _ => {}
        }
    }

    fn add_checked(&self, path: &mut String) -> Result<()> {
        check_path(path)?;
        *path = self.add(path);
        Ok(())
    }

    /// The path of a sequential node is complete only with its number: `/a/` is fine then.
    fn add_to_created(&self, path: &mut String, flags: i32) -> Result<()> {
        match zk_proto::CreateMode::from_flags(flags).is_some_and(|mode| mode.is_sequential()) {
            true => check_path(&format!("{path}1"))?,
            false => check_path(path)?,
        }
        *path = self.add(path);
        Ok(())
    }
}

fn check_path(text: &str) -> Result<()> {
    path::validate(text).map_err(|e| ZkError::BadArgument(format!("path {text:?}: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_gain_and_lose_the_chroot() {
        let root = Chroot::new("/app").expect("well formed");
        assert_eq!(root.add("/"), "/app");
        assert_eq!(root.add("/a"), "/app/a");
        assert_eq!(root.strip("/app".into()), "/");
        assert_eq!(root.strip("/app/a".into()), "/a");
        assert_eq!(root.strip("/apple".into()), "/apple");
        assert_eq!(root.strip("/zookeeper/config".into()), "/zookeeper/config");
        let none = Chroot::new("/").expect("well formed");
        assert_eq!((none.add("/"), none.strip("/".into())), ("/".into(), "/".into()));
    }

    #[test]
    fn a_malformed_path_never_leaves_the_client() {
        let mut request = Request::Sync { path: "a//b".into() };
        assert!(matches!(Chroot::default().add_to_request(&mut request), Err(ZkError::BadArgument(_))));
    }
}
