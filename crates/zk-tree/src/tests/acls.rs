//! Who may do what.

use zk_proto::{Acl, CreateRequest, ErrorCode, Id, Request, perms};

use super::harness::{Server, create_request};

fn as_user(server: &mut Server, name: &str) {
    server.auth = vec![Id::new("ip", "127.0.0.1"), Id::new("digest", format!("{name}:hash"))];
}

fn digest(perms: i32, name: &str) -> Acl {
    Acl::new(perms, Id::new("digest", format!("{name}:hash")))
}

/// `/n` where ann may do everything, and others what `others` says.
fn guarded(others: i32) -> Server {
    let mut server = Server::new();
    as_user(&mut server, "ann");
    let mut acl = vec![digest(perms::ALL, "ann")];
    if others != 0 {
        acl.push(Acl::new(others, Id::anyone()));
    }
    server.run(Request::Create(CreateRequest { acl, ..create_request("/n", 0) })).expect("new");
    server.create("/n/child", 0).expect("ann may");
    as_user(&mut server, "bob");
    server
}

#[test]
fn each_operation_needs_its_permission() {
    let check = |others: i32, what: &str, expect_ok: bool| {
        let mut server = guarded(others);
        let got = match what {
            "create" => server.create("/n/x", 0).map(|_| ()),
            "delete" => server.delete("/n/child", -1),
            "set" => server.set("/n", "x", -1).map(|_| ()),
            "setAcl" => {
                let acl = Acl::open();
                server.run(Request::SetAcl { path: "/n".into(), acl, version: -1 }).map(|_| ())
            }
            "exists" => server.stat("/n").map(|_| ()),
            "get" => server.tree.get_data("/n", &server.auth).map(|_| ()),
            "children" => server.tree.get_children("/n", &server.auth).map(|_| ()),
            "getAcl" => server.tree.get_acl("/n", &server.auth).map(|_| ()),
            "count" => server.tree.get_all_children_number("/n", &server.auth).map(|_| ()),
            _ => unreachable!("a name of this table"),
        };
        let expect = if expect_ok { Ok(()) } else { Err(ErrorCode::NoAuth) };
        assert_eq!(got, expect, "{what} with permissions {others}");
    };
    let needs = [
        ("create", perms::CREATE),
        ("delete", perms::DELETE),
        ("set", perms::WRITE),
        ("setAcl", perms::ADMIN),
        ("exists", perms::READ),
        ("get", perms::READ),
        ("children", perms::READ),
        ("count", perms::READ),
        ("getAcl", perms::READ),
        ("getAcl", perms::ADMIN),
    ];
    for (what, perm) in needs {
        check(perm, what, true);
        let without =
            if what == "getAcl" { perms::ALL & !(perms::READ | perms::ADMIN) } else { perms::ALL & !perm };
        check(without, what, false);
    }
}

#[test]
fn a_missing_node_is_told_even_to_strangers_but_a_missing_permission_first_on_delete() {
    let mut server = guarded(0);
    assert_eq!(server.stat("/n/none"), Err(ErrorCode::NoNode));
    assert_eq!(server.delete("/n/none", -1), Err(ErrorCode::NoAuth));
}

#[test]
fn the_aversion_counts_changes_of_the_list() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    let set = |version: i32| Request::SetAcl { path: "/a".into(), acl: Acl::open(), version };
    server.run(set(0)).expect("the current aversion");
    assert_eq!(server.run(set(0)), Err(ErrorCode::BadVersion));
    server.run(set(-1)).expect("any aversion");
    assert_eq!(server.stat("/a").map(|s| (s.aversion, s.version)), Ok((2, 0)));
}

#[test]
fn get_acl_hides_digests_without_admin() {
    let mut server = guarded(perms::READ);
    let seen =
        |server: &Server| server.tree.get_acl("/n", &server.auth).expect("readable").0[0].id.id.clone();
    assert_eq!(seen(&server), "ann:x");
    as_user(&mut server, "ann");
    assert_eq!(seen(&server), "ann:hash");
    assert_eq!(server.tree.get_acl("/", &[]).expect("open").0, Acl::open());
}

#[test]
fn the_config_node_is_read_only() {
    let mut server = Server::new();
    assert_eq!(server.set("/zookeeper/config", "x", -1), Err(ErrorCode::NoAuth));
    assert_eq!(server.stat("/zookeeper/config").map(|s| s.aversion), Ok(-1));
    server.auth.push(Id::new("super", ""));
    server.set("/zookeeper/config", "x", -1).expect("the super user may");
}

#[test]
fn exists_refuses_a_null_character() {
    assert_eq!(Server::new().stat("/a\0"), Err(ErrorCode::BadArguments));
}

#[test]
fn a_permission_is_judged_with_what_is_on_the_way() {
    let mut server = Server::new();
    server.create("/a", 0).expect("new");
    let acl = Acl::read_only();
    server.decide(Request::SetAcl { path: "/a".into(), acl, version: -1 });
    let set = server.decide(Request::SetData { path: "/a".into(), data: None, version: -1 });
    assert_eq!(set.error, Some(ErrorCode::NoAuth));
}

#[test]
fn skip_acl_lets_everybody_do_everything() {
    let mut server = guarded(0);
    server.tree.config.auth.skip_acl = true;
    server.set("/n", "x", -1).expect("nobody is refused");
}
