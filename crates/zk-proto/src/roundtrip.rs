//! Whatever is written reads back the same, and arbitrary bytes never panic.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::*;

fn text() -> impl Strategy<Value = String> {
    "[/a-zé0-9]{0,12}"
}

fn data() -> impl Strategy<Value = Option<Bytes>> {
    option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from))
}

fn acls() -> impl Strategy<Value = Vec<Acl>> {
    vec((any::<i32>(), text(), text()).prop_map(|(p, s, i)| Acl::new(p, Id::new(s, i))), 0..4)
}

fn stat() -> impl Strategy<Value = Stat> {
    (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(l, i)| Stat {
        czxid: l[0],
        mzxid: l[1],
        ctime_ms: l[2],
        mtime_ms: l[3],
        version: i[0],
        cversion: i[1],
        aversion: i[2],
        ephemeral_owner: l[4],
        data_length: i[3],
        num_children: i[4],
        pzxid: l[5],
    })
}

fn create() -> impl Strategy<Value = CreateRequest> {
    let kind = prop_oneof![
        Just((CreateKind::Create, 0)),
        Just((CreateKind::Create2, 3)),
        Just((CreateKind::Container, 4)),
        Just((CreateKind::Ttl, 5)),
    ];
    (kind, text(), data(), acls(), any::<i64>()).prop_map(|((kind, flags), path, data, acl, ttl)| {
        CreateRequest { kind, path, data, acl, flags, ttl_ms: if kind == CreateKind::Ttl { ttl } else { -1 } }
    })
}

fn multi_op() -> impl Strategy<Value = MultiOp> {
    prop_oneof![
        create().prop_map(MultiOp::Create),
        (text(), any::<i32>()).prop_map(|(path, version)| MultiOp::Delete { path, version }),
        (text(), any::<i32>()).prop_map(|(path, version)| MultiOp::Check { path, version }),
        (text(), data(), any::<i32>()).prop_map(|(path, data, version)| MultiOp::SetData {
            path,
            data,
            version
        }),
    ]
}

fn read_op() -> impl Strategy<Value = MultiReadOp> {
    (text(), any::<bool>()).prop_map(|(path, is_data)| {
        if is_data { MultiReadOp::GetData { path } } else { MultiReadOp::GetChildren { path } }
    })
}

fn set_watches(v2: bool) -> impl Strategy<Value = SetWatchesRequest> {
    let list = || vec(text(), 0..3);
    (any::<i64>(), list(), list(), list(), list(), list()).prop_map(move |(z, d, e, c, p, r)| {
        SetWatchesRequest {
            relative_zxid: z,
            data: d,
            exist: e,
            child: c,
            persistent: if v2 { p } else { Vec::new() },
            persistent_recursive: if v2 { r } else { Vec::new() },
        }
    })
}

fn plain_request() -> impl Strategy<Value = Request> {
    (0..22, text(), any::<bool>(), any::<i32>(), data(), acls(), option::of(text())).prop_map(
        |(which, path, watch, n, data, acl, opt)| match which {
            0 => Request::Delete { path, version: n },
            1 => Request::Exists { path, watch },
            2 => Request::GetData { path, watch },
            3 => Request::SetData { path, data, version: n },
            4 => Request::GetAcl { path },
            5 => Request::SetAcl { path, acl, version: n },
            6 => Request::GetChildren { path, watch },
            7 => Request::GetChildren2 { path, watch },
            8 => Request::Sync { path },
            9 => Request::Ping,
            10 => Request::Check { path, version: n },
            11 => Request::Reconfig {
                joining: opt.clone(),
                leaving: None,
                new_members: opt,
                current_config_id: i64::from(n),
            },
            12 => Request::CheckWatches { path, kind: n },
            13 => Request::RemoveWatches { path, kind: n },
            14 => Request::Auth { kind: n, scheme: path, auth: data },
            15 => Request::AddWatch { path, mode: n },
            16 => Request::Sasl { token: data },
            17 => Request::GetEphemerals { prefix: opt },
            18 => Request::GetAllChildrenNumber { path },
            19 => Request::WhoAmI,
            20 => Request::CreateSession { timeout_ms: n },
            _ => Request::CloseSession,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        6 => plain_request(),
        1 => create().prop_map(Request::Create),
        1 => vec(multi_op(), 0..5).prop_map(Request::Multi),
        1 => vec(read_op(), 0..5).prop_map(Request::MultiRead),
        1 => set_watches(false).prop_map(Request::SetWatches),
        1 => set_watches(true).prop_map(Request::SetWatches2),
    ]
}

fn multi_result() -> impl Strategy<Value = MultiResult> {
    (0..8, text(), stat(), data(), vec(text(), 0..3), 0..ErrorCode::ALL.len()).prop_map(
        |(which, path, stat, data, children, code)| match which {
            0 => MultiResult::Create { path },
            1 => MultiResult::Create2 { path, stat },
            2 => MultiResult::Delete,
            3 => MultiResult::SetData { stat },
            4 => MultiResult::Check,
            5 => MultiResult::GetData { data, stat },
            6 => MultiResult::GetChildren { children },
            _ => MultiResult::Error(ErrorCode::ALL[code]),
        },
    )
}

fn response() -> impl Strategy<Value = (OpCode, Response)> {
    let parts =
        (0..12, text(), stat(), data(), vec(text(), 0..3), acls(), any::<i32>(), vec(multi_result(), 0..4));
    parts.prop_map(|(which, path, stat, data, children, acl, n, results)| match which {
        0 => (OpCode::Delete, Response::Empty),
        1 => (OpCode::Create, Response::Path { path }),
        2 => (OpCode::CreateTtl, Response::PathStat { path, stat }),
        3 => (OpCode::SetData, Response::Stat { stat }),
        4 => (OpCode::GetData, Response::Data { data, stat }),
        5 => (OpCode::GetEphemerals, Response::Children { children }),
        6 => (OpCode::GetChildren2, Response::ChildrenStat { children, stat }),
        7 => (OpCode::GetAcl, Response::Acl { acl, stat }),
        8 => (OpCode::AddWatch, Response::Error { err: n }),
        9 => (OpCode::GetAllChildrenNumber, Response::Count { total: n }),
        10 => (OpCode::Multi, Response::Multi(results)),
        _ => {
            (OpCode::WhoAmI, Response::ClientInfos(vec![ClientInfo { auth_scheme: "ip".into(), user: path }]))
        }
    })
}

proptest! {
    #[test]
    fn requests_read_back_as_written(request in request()) {
        let mut w = Writer::new();
        request.encode(&mut w);
        let mut r = Reader::new(w.as_slice());
        prop_assert_eq!(Request::decode(request.op().code(), &mut r), Ok(request));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn a_cut_request_is_an_error_never_a_panic(request in request(), cut in any::<prop::sample::Index>()) {
        let mut w = Writer::new();
        request.encode(&mut w);
        if !w.is_empty() {
            let bytes = &w.as_slice()[..cut.index(w.len())];
            prop_assert!(Request::decode(request.op().code(), &mut Reader::new(bytes)).is_err());
        }
    }

    #[test]
    fn responses_read_back_as_written((op, response) in response()) {
        let mut w = Writer::new();
        response.encode(&mut w);
        let mut r = Reader::new(w.as_slice());
        prop_assert_eq!(Response::decode_for(op, &mut r), Ok(response));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(which in 0..OpCode::ALL.len(), bytes in vec(any::<u8>(), 0..64)) {
        let op = OpCode::ALL[which];
        let _ = Request::decode(op.code(), &mut Reader::new(&bytes));
        let _ = Response::decode_for(op, &mut Reader::new(&bytes));
        let _ = WatcherEvent::decode(&mut Reader::new(&bytes));
        let _ = ConnectRequest::decode(&mut Reader::new(&bytes));
    }

    #[test]
    fn path_checks_never_panic(path in "\\PC{0,12}") {
        let _ = path::validate(&path);
        let _ = path::validate_sequential(&path);
    }
}
