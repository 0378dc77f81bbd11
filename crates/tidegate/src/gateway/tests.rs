use super::*;
use crate::cluster::MemoryStore;
use crate::config::plan::ClusterPlan;

fn cluster() -> Arc<Cluster> {
    let store = Arc::new(MemoryStore::default());
    Arc::new(Cluster::new(store, &"a".into(), &ClusterPlan::default()))
}

#[test]
fn pushes_go_by_the_bus_where_there_is_one_and_else_by_the_cluster() {
    let (plan, cluster) = (BusPlan::default(), cluster());
    let given: Arc<dyn EventBus> = Arc::new(MemoryBus::default());
    let (bus, over_cluster) = carrier(Some(Arc::clone(&given)), Some(&cluster), &plan);
    assert!(Arc::ptr_eq(&bus, &given) && over_cluster.is_none());
    let (_bus, over_cluster) = carrier(None, Some(&cluster), &plan);
    assert!(over_cluster.is_some());
    let (_bus, over_cluster) = carrier(None, None, &plan);
    assert!(over_cluster.is_none());
}

#[test]
fn histories_are_kept_as_the_plan_says_with_and_without_a_cluster() {
    let (cluster, kept) = (cluster(), BusPlan::default());
    let none = BusPlan {
        history: None,
        ..BusPlan::default()
    };
    for cluster in [None, Some(&cluster)] {
        let (bus, _) = carrier(None, cluster, &kept);
        assert!(bus.end(&kept.topics.push, "u").is_some() && bus.state().is_ready);
        let (bus, _) = carrier(None, cluster, &none);
        assert_eq!(bus.end(&none.topics.push, "u"), None);
    }
}
