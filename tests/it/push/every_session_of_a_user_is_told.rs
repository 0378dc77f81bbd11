//! A push reaches each session of its user, in the shape that the session speaks, and nobody else.

use serde_json::json;

use super::Setting;

#[tokio::test]
async fn in_the_shape_that_each_speaks() {
    let Some(setting) = Setting::new("in_the_shape_that_each_speaks", "").await else {
        return;
    };
    let mut old = setting.old("u42").await;
    let (mut one, _) = setting.new_session("u42").await;
    let (mut two, _) = setting.new_session("u42").await;
    let mut other = setting.old("u43").await;
    let body = json!({"event": "cash-out", "source": "account-service", "data": {"value": -100}});
    let told = setting.push("/v1/users/u42/push", &body).await;
    assert_eq!(
        (&told["queued"], &told["matched"]),
        (&json!(true), &json!(3))
    );
    for client in [&mut one, &mut two] {
        let mut push = client.receive().await;
        let time = push["ts"].take();
        let cursor = push["cursor"].take();
        assert!(cursor.is_string(), "{cursor}");
        assert!(time.as_u64().unwrap() > 1_700_000_000_000, "{time}");
        let expected = json!({"op": "push", "seq": 1, "event": "cash-out", "ts": null,
            "cursor": null, "source": "account-service", "data": {"value": -100}});
        assert_eq!(push, expected);
    }
    let expected = json!({"username": "u42", "type": "GET", "baseUrl": "http://account-service",
        "uri": "cash-out", "body": {"value": -100}});
    assert_eq!(old.receive().await, expected);
    // The next that anybody gets is the next push: nothing came twice, and nothing to others.
    let body = json!({"user": ["u42", "u43"], "type": "POST", "baseUrl": "http://a-service:80/x",
        "uri": "done", "body": [1.50]});
    let told = setting.push("/v1/push", &body).await;
    assert_eq!(told["matched"], 4, "{told}");
    for client in [&mut one, &mut two] {
        let push = client.receive().await;
        assert_eq!((&push["seq"], &push["event"]), (&json!(2), &json!("done")));
        assert_eq!(
            (&push["source"], &push["data"]),
            (&json!("a-service"), &json!([1.5]))
        );
    }
    for (client, user) in [(&mut old, "u42"), (&mut other, "u43")] {
        let expected = json!({"username": user, "type": "POST", "baseUrl": "http://a-service:80/x",
            "uri": "done", "body": [1.50]});
        assert_eq!(client.receive().await, expected);
    }
}
