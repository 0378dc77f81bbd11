use super::*;

#[test]
fn no_sum_is_too_large_to_be_told() {
    let counters = [Counter::default(), Counter::default()];
    counters.iter().for_each(|one| one.add(u64::MAX));
    assert_eq!(total(counters.iter()), u64::MAX - 1);
}

#[test]
fn workers_are_summed() {
    let (one, two) = (Meters::new(1, 0), Meters::new(1, 0));
    one.accepted.add(2);
    two.accepted.add(3);
    let pushes = PushMeters::default();
    let facts = Facts {
        version: "1",
        commit: "c",
        routes: vec![("r", "proxy")],
        services: vec![],
        connections: 0,
        panics: 0,
        users: 7,
        cluster: ClusterFacts {
            is_connected: true,
            nodes: 3,
            users: 9,
        },
        untold: 0,
        waiting: 0,
        bus: BusState::default(),
        refusals: vec![("route_full", 2), (TOO_MANY_HANDSHAKES, 3)],
        tls_reloads: [0; 2],
        logs: vec![(
            "access",
            Lines {
                written: 4,
                dropped: 1,
            },
        )],
        auth: AuthCounts::default(),
        pushes: &pushes,
        rooms: [1, 2],
        suspended_bytes: 0,
        draining: false,
        started: 0.5,
    };
    let text = page(&facts, &[&one, &two]);
    assert!(
        text.contains("\ntidegate_connections_accepted_total 5\n"),
        "{text}"
    );
    assert!(text.contains("\ntidegate_refused_total{code=\"route_full\"} 2\n"));
    assert!(text.contains("\ntidegate_users_online 7\n"));
    assert!(text.contains("\ntidegate_cluster_users_online 9\n"));
    assert!(text.contains("\ntidegate_cluster_nodes 3\n"));
    assert!(text.contains("\ntidegate_cluster_connected 1\n"));
    assert!(text.contains("{log=\"access\",result=\"dropped\"} 1\n"));
    assert!(text.contains("{scope=\"address\",action=\"refuse\"} 3\n"));
    assert!(text.contains("{version=\"1\",commit=\"c\"} 1\n"), "{text}");
    assert!(
        text.contains("\nprocess_start_time_seconds 0.5\n"),
        "{text}"
    );
}
