//! The pipeline as a whole: order, early answers, the three moments.

use http::{HeaderValue, StatusCode};

use super::testing::exchange;
use super::*;
use crate::exchange::Answer;
use crate::headers::{FieldName, Headers};
use crate::router::{Matcher, PathPattern};

fn line(name: &str, value: &str) -> HeaderLine {
    HeaderLine::parse(name, value).unwrap()
}

fn values(headers: &Headers, name: &str) -> Vec<String> {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    headers.get_all(name).map(text).collect()
}

/// Answers at once, or after it has yielded.
#[derive(Debug)]
struct Teapot {
    waits: bool,
}

impl Filter for Teapot {
    fn on_request<'a>(&'a self, _exchange: &'a mut Exchange) -> Moment<'a> {
        let answer = || Ok(Step::Answer(Answer::new(StatusCode::IM_A_TEAPOT)));
        if !self.waits {
            return Moment::ready(answer());
        }
        Moment::waits(async move {
            tokio::task::yield_now().await;
            answer()
        })
    }
}

/// Marks the headers of requests and responses, and refuses frames above a length.
#[derive(Debug)]
struct Mark(&'static str, u64);

impl Filter for Mark {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        mark(&mut exchange.headers, self.0);
        Moment::ready(Ok(Step::Continue))
    }

    fn on_response(&self, _facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        mark(head.headers_mut(), self.0);
    }

    fn on_session(&self, _opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        (self.1 > 0).then(|| Box::new(AtMost(self.1)) as _)
    }
}

fn mark(headers: &mut Headers, mark: &'static str) {
    let name = FieldName::from_static("X-Mark");
    headers.append(name, HeaderValue::from_static(mark));
}

struct AtMost(u64);

impl FrameFilter for AtMost {
    fn on_frame(&mut self, _direction: Direction, frame: &FrameFacts) -> Result<(), FrameRefusal> {
        if frame.length > self.0 {
            Err(FrameRefusal::new(format!("too_long;max={}", self.0)))
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn requests_pass_in_order_and_responses_in_reverse() {
    let pipeline = Pipeline::new(vec![Arc::new(Mark("1", 0)), Arc::new(Mark("2", 0))]);
    let mut exchange = exchange("/");
    let step = pipeline.request(&mut exchange).await.unwrap();
    assert!(matches!(step, Step::Continue));
    assert_eq!(values(&exchange.headers, "x-mark"), ["1", "2"]);

    let mut answer = Answer::new(StatusCode::OK);
    let facts = ExchangeFacts::of(&exchange);
    pipeline.response(&facts, &mut ResponseHead::plain(&mut answer));
    assert_eq!(values(&answer.headers, "x-mark"), ["2", "1"]);
}

#[tokio::test]
async fn an_answer_ends_the_request_whether_waited_for_or_not() {
    for waits in [false, true] {
        let teapot = Arc::new(Teapot { waits });
        let pipeline = Pipeline::new(vec![teapot, Arc::new(Mark("1", 0))]);
        let mut exchange = exchange("/");
        let step = pipeline.request(&mut exchange).await.unwrap();
        assert!(matches!(step, Step::Answer(answer) if answer.status == StatusCode::IM_A_TEAPOT));
        assert!(exchange.headers.is_empty(), "no later filter ran");
    }
}

#[tokio::test]
async fn the_built_in_filters_change_path_and_headers() {
    let pipeline = Pipeline::build(
        &[
            FilterPlan::SetRequestHeader(line("X-User", "user-{id}")),
            FilterPlan::AddRequestHeader(line("X-Via", "b")),
            FilterPlan::RemoveRequestHeader(EditableName::parse("x-secret").unwrap()),
            FilterPlan::StripPrefix(StripPrefix { segments: 1 }),
            FilterPlan::RewritePath(RewritePath::parse("^/users/(.*)", "/u/$1").unwrap()),
            FilterPlan::PrefixPath(PrefixPath::parse("/v1").unwrap()),
        ],
        &Setting::default(),
    );
    let mut exchange = exchange("/api/users/7");
    exchange.captures.push("id", "7");
    for (name, value) in [("x-user", "me"), ("X-Via", "a"), ("X-Secret", "s")] {
        let name = FieldName::from_static(name);
        exchange
            .headers
            .append(name, HeaderValue::from_static(value));
    }
    pipeline.request(&mut exchange).await.unwrap();
    assert_eq!(exchange.path.as_str(), "/v1/u/7");
    assert_eq!(exchange.original_path().as_str(), "/api/users/7");
    assert_eq!(values(&exchange.headers, "X-User"), ["user-7"]);
    assert_eq!(values(&exchange.headers, "X-Via"), ["a", "b"]);
    assert!(!exchange.headers.contains("X-Secret"));
}

#[test]
fn response_filters_hold_for_answers_and_for_the_101() {
    let pipeline = Pipeline::build(
        &[
            FilterPlan::SetResponseHeader(line("X-Id", "{id}")),
            FilterPlan::AddResponseHeader(line("X-Id", "fixed")),
            FilterPlan::RemoveResponseHeader(EditableName::parse("Server").unwrap()),
        ],
        &Setting::default(),
    );
    let mut exchange = exchange("/");
    exchange.captures.push("id", "7");
    let facts = ExchangeFacts::of(&exchange);
    let server = || HeaderValue::from_static("upstream");

    let mut answer = Answer::new(StatusCode::OK);
    answer
        .headers
        .append(FieldName::from_static("server"), server());
    pipeline.response(&facts, &mut ResponseHead::plain(&mut answer));

    let mut switching = Headers::new();
    switching.append(FieldName::from_static("server"), server());
    pipeline.response(&facts, &mut ResponseHead::switching(&mut switching));

    for headers in [&answer.headers, &switching] {
        assert!(!headers.contains("Server"));
        assert_eq!(values(headers, "x-id"), ["7"], "the first listed is last");
    }
}

#[tokio::test]
async fn a_response_header_that_cannot_be_made_fails_before_the_upstream_is_called() {
    let plan = FilterPlan::SetResponseHeader(line("X-Id", "{id}"));
    let pipeline = Pipeline::build(&[plan], &Setting::default());
    let mut exchange = exchange("/");
    exchange.captures.push("id", "\r\n");
    let error = pipeline.request(&mut exchange).await.unwrap_err();
    assert!(error.blames_downstream());

    let mut answer = Answer::new(StatusCode::OK);
    let facts = ExchangeFacts::of(&exchange);
    pipeline.response(&facts, &mut ResponseHead::plain(&mut answer));
    assert!(answer.headers.is_empty(), "left out, no panic");
}

#[test]
fn frames_pass_those_who_asked_to_watch() {
    let exchange = exchange("/");
    let opening = SessionOpening {
        exchange: ExchangeFacts::of(&exchange),
        subprotocol: None,
    };
    let nobody = Pipeline::new(vec![Arc::new(Mark("1", 0))]);
    assert!(nobody.session(&opening).is_empty());

    let pipeline = Pipeline::new(vec![Arc::new(Mark("1", 9)), Arc::new(Mark("2", 5))]);
    let mut filters = pipeline.session(&opening);
    let mut frame = FrameFacts {
        opcode: 1,
        fin: true,
        length: 5,
    };
    assert_eq!(filters.on_frame(Direction::ToUpstream, &frame), Ok(()));
    frame.length = 6;
    let refusal = filters.on_frame(Direction::ToDownstream, &frame);
    assert_eq!(refusal.unwrap_err().reason(), "too_long;max=5");
}

#[test]
fn placeholders_are_held_against_what_the_route_captures() {
    let matcher = |paths: &[&str]| Matcher {
        paths: paths
            .iter()
            .map(|path| PathPattern::parse(path).unwrap())
            .collect(),
        ..Matcher::default()
    };
    let plans = [
        FilterPlan::SetRequestHeader(line("A", "{id}")),
        FilterPlan::AddResponseHeader(line("A", "{id}")),
        FilterPlan::PrefixPath(PrefixPath::parse("/{id}").unwrap()),
    ];
    for plan in plans {
        assert_eq!(
            plan.check_variables(&matcher(&["/a/{id}", "/{id}"])),
            Ok(())
        );
        for paths in [&["/a/{id}", "/b"][..], &["/a"], &[]] {
            let unbound = plan.check_variables(&matcher(paths)).unwrap_err();
            assert_eq!(&*unbound.name, "id");
        }
    }
    let plan = FilterPlan::StripPrefix(StripPrefix { segments: 1 });
    assert_eq!(plan.check_variables(&matcher(&[])), Ok(()));
}

#[test]
fn a_request_on_its_way_through_can_move_between_threads() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let pipeline = Pipeline::default();
    let mut exchange = exchange("/");
    drop(sendable(pipeline.request(&mut exchange)));
    assert!(pipeline.is_empty());
}
