//! A resumable push to several users stands in each one's order, wherever else it stands: nobody's cursor
//! passes over it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::Request;

use super::{Node, Setting, Topics, is_matched};

/// A push to `bro` and `sis` as gateways write it: the record for both, and the copy of one.
struct ToTwo<'s> {
    topics: &'s Topics,
    id: &'s str,
    uri: &'s str,
}

impl ToTwo<'_> {
    fn copy(&self, user: &str) -> Value {
        let value = json!({"username": user, "baseUrl": "", "uri": self.uri, "body": "1"});
        let headers = json!({"tidegate-id": self.id, "tidegate-copy": "1"});
        json!({"topic": self.topics.push, "record": "WebSocketEvent", "key": user, "value": value,
            "headers": headers})
    }

    fn whole(&self) -> Value {
        let value = json!({"username": "", "baseUrl": "", "uri": self.uri, "body": "1"});
        let users = json!({"users": ["bro", "sis"]}).to_string();
        let headers = json!({"tidegate-id": self.id, "tidegate-push": users});
        json!({"topic": self.topics.push, "record": "WebSocketEvent", "value": value,
            "headers": headers})
    }
}

#[tokio::test]
async fn no_cursor_passes_over_what_has_not_come() {
    let test = "no_cursor_passes_over_what_has_not_come";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let (mut bro, _) = setting.new_session(&one, "bro").await;
    let (mut sis, _) = setting.new_session(&two, "sis").await;
    let both = ToTwo {
        topics: &setting.topics,
        id: "e_AAAAAAAAAAAAAAAAAAAAAQ",
        uri: "to both",
    };
    for user in ["bro", "sis"] {
        setting.publish_record(&both.copy(user)).await;
    }
    setting.publish_keyed("bro", "bro", "behind it", "1").await;
    // Its publisher has not come to the record for both, and perhaps never does.
    assert_eq!(bro.receive().await["event"], "to both");
    let told = bro.receive().await;
    assert_eq!(told["event"], "behind it", "{told}");
    drop(bro);
    let (mut bro, resume) = setting.resume(&two, "bro", &told["cursor"]).await;
    assert_eq!(resume["recovered"], true, "{resume}");
    let told = sis.receive().await;
    assert_eq!(told["event"], "to both", "{told}");
    assert!(told["cursor"].is_string(), "{told}");
    // Whoever was told is not told again by the record for both.
    setting.publish_record(&both.whole()).await;
    for (user, client) in [("bro", &mut bro), ("sis", &mut sis)] {
        two.push(&format!("/v1/users/{user}/push"), &json!({"event": "last"}))
            .await;
        assert_eq!(client.receive().await["event"], "last", "{user}");
    }
}

#[tokio::test]
async fn who_comes_by_the_record_for_both_is_told_once_too() {
    let test = "who_comes_by_the_record_for_both_is_told_once_too";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let (mut bro, _) = setting.new_session(&node, "bro").await;
    let both = ToTwo {
        topics: &setting.topics,
        id: "e_AAAAAAAAAAAAAAAAAAAAAg",
        uri: "to both",
    };
    setting.publish_record(&both.whole()).await;
    assert_eq!(bro.receive().await["event"], "to both");
    setting.publish_record(&both.copy("bro")).await;
    setting.publish_keyed("bro", "bro", "last", "1").await;
    assert_eq!(bro.receive().await["event"], "last");
    // What is counted is what was left, by whichever of them.
    let push = json!({"user": ["bro", "sis"], "event": "counted"});
    is_matched(&node.push("/v1/push", &push).await, 1);
    assert_eq!(bro.receive().await["event"], "counted");
}

#[tokio::test]
async fn what_is_asked_of_another_node_under_one_key_is_one_event_and_said_to_be() {
    let test = "what_is_asked_of_another_node_under_one_key_is_one_event_and_said_to_be";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let (mut bro, _) = setting.new_session(&two, "bro").await;
    let (target, push) = ("/v1/users/bro/push", json!({"event": "once"}));
    let ask = async |node: &Node| {
        let request = Request::new("POST", target).set("Host", &node.admin.0.to_string());
        let request = request.with("Idempotency-Key", "k").body(push.to_string());
        let begun = Instant::now();
        let answer = node.admin.ask(&request).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let told: Value = serde_json::from_str(&answer.text()).unwrap();
        (told, begun.elapsed() < Duration::from_secs(1))
    };
    let (first, is_known) = ask(&one).await;
    assert_eq!(first["queued"], true, "{first}");
    // What became of it is said where that is found out in a second.
    assert!(first["matched"] == 0 || !is_known, "{first}");
    assert!(first["repeated"].is_null(), "{first}");
    assert_eq!(bro.receive().await["event"], "once");
    let (again, is_known) = ask(&two).await;
    assert_eq!(again["event_id"], first["event_id"]);
    assert!(again["repeated"] == true || !is_known, "{again}");
    assert!(again["matched"].is_null(), "{again}");
    assert_eq!(ask(&one).await.0, first);
    two.push(target, &json!({"event": "last"})).await;
    assert_eq!(bro.receive().await["event"], "last");
}
