use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::basic::PasswordHash;
use super::*;

/// Of `password`, from the tests of the reference.
const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const SCHEMES: Schemes = Schemes {
    bearer: false,
    basic: true,
};

fn passwords(hash: &str, failures: Option<Rate>) -> Arc<Passwords> {
    let user = BasicUser {
        name: "alice".into(),
        password: PasswordHash::parse(hash).unwrap(),
        roles: Vec::new(),
    };
    let mut passwords = Passwords::new(&[user], failures);
    // Nobody here is told to go because the machine is busy.
    passwords.users.longest_wait = Duration::from_secs(3600);
    Arc::new(passwords)
}

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

fn of(password: &str) -> String {
    BASE64_STANDARD.encode(format!("alice:{password}"))
}

/// What is said to so many at once, each with a password of its own. All of them have looked before one
/// of them is verified.
async fn guesses(
    passwords: &Arc<Passwords>,
    clients: u8,
    each: usize,
) -> Vec<Result<Arc<Principal>, AuthError>> {
    let mut shown = Vec::new();
    for number in 0..each {
        for one in 0..clients {
            let text = of(&format!("{one}-{number}"));
            let known = passwords.look(client(one), &text, SCHEMES);
            assert_eq!(known, Ok(None));
            shown.push((client(one), text));
        }
    }
    let mut all = JoinSet::new();
    for (client, text) in shown.clone() {
        let passwords = Arc::clone(passwords);
        all.spawn(async move { passwords.verify(client, &text, SCHEMES).await });
    }
    let said = all.join_all().await;
    let is_computed = |(_, text): &&(_, String)| passwords.remembered(&digest_of(text)).is_some();
    // Whoever was told to wait was not told by a hash.
    assert_eq!(
        shown.iter().filter(is_computed).count(),
        count(&said, is_wrong)
    );
    said
}

fn count(said: &[Result<Arc<Principal>, AuthError>], is: impl Fn(&AuthError) -> bool) -> usize {
    let errors = said.iter().filter_map(|said| said.as_ref().err());
    errors.filter(|error| is(error)).count()
}

fn is_wrong(error: &AuthError) -> bool {
    matches!(error, AuthError::Password { .. })
}

#[tokio::test]
async fn guesses_at_once_are_as_many_as_one_after_the_other() {
    for (failures, most) in [
        (None, 20),
        (
            Some(Rate {
                every: Duration::from_millis(1),
                burst: 500,
            }),
            20,
        ),
        (
            Some(Rate {
                every: Duration::from_secs(60),
                burst: 3,
            }),
            3,
        ),
    ] {
        let begun = Instant::now();
        let passwords = passwords(HASH, failures);
        let said = guesses(&passwords, 1, 300).await;
        // What time gives back meanwhile is theirs.
        let most = most + begun.elapsed().as_secs() as usize + 1;
        let wrong = count(&said, is_wrong);
        assert!((1..=most).contains(&wrong), "{wrong} of {most}");
        let others = |error: &AuthError| {
            matches!(
                error,
                AuthError::TooManyFailures { .. } | AuthError::TooManyPasswords
            )
        };
        assert_eq!(count(&said, others), 300 - wrong);
        assert!(passwords.flights().is_empty());
    }
}

#[tokio::test]
async fn there_is_an_end_to_those_that_wait() {
    let passwords = passwords(HASH, None);
    let turns = passwords.users.hold_all().await;
    let mut all = JoinSet::new();
    for one in 0..6 {
        for number in 0..20 {
            let (passwords, text) = (Arc::clone(&passwords), of(&format!("{one}-{number}")));
            all.spawn(async move { passwords.verify(client(one), &text, SCHEMES).await });
        }
    }
    // Each gets as far as it comes without a turn.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(passwords.room.available_permits(), 0);
    let mut said = Vec::new();
    while let Some(one) = all.try_join_next() {
        said.push(one.unwrap());
    }
    let busy = |error: &AuthError| matches!(error, AuthError::PasswordsBusy);
    let of_client = |error: &AuthError| matches!(error, AuthError::TooManyPasswords);
    assert_eq!(count(&said, of_client), 4 * (20 - MOST_OF_CLIENT));
    assert_eq!(count(&said, busy), 2 * 20);
    drop(turns);
    all.join_all().await;
    assert_eq!(passwords.room.available_permits(), MOST_AT_ONCE);
    // What was not computed costs nothing.
    for _ in 0..20 {
        let said = passwords.verify(client(5), &of("x"), SCHEMES).await;
        assert!(said.is_err_and(|error| is_wrong(&error)));
    }
}

#[tokio::test]
async fn the_right_one_costs_nothing_and_is_computed_once() {
    let rate = Rate {
        every: Duration::from_secs(3600),
        burst: 1,
    };
    let passwords = passwords(HASH, Some(rate));
    let text = of("password");
    for _ in 0..2 {
        let mut all = JoinSet::new();
        for _ in 0..100 {
            let (passwords, text) = (Arc::clone(&passwords), text.clone());
            all.spawn(async move { passwords.verify(client(1), &text, SCHEMES).await });
        }
        for said in all.join_all().await {
            assert_eq!(said.unwrap().user(), "alice");
        }
    }
    assert!(passwords.flights().is_empty());
    let wrong = passwords.verify(client(1), &of("x"), SCHEMES).await;
    assert!(wrong.is_err_and(|error| is_wrong(&error)));
    let next = passwords.verify(client(1), &of("y"), SCHEMES).await;
    assert!(matches!(next, Err(AuthError::TooManyFailures { .. })));
    assert!(passwords.look(client(1), &text, SCHEMES).unwrap().is_some());
}
