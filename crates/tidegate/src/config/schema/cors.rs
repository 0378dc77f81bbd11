//! `cors`: where browsers may call from; of the gateway, and of a route.

use http::{HeaderName, Method};
use tidegate_ws::cors::{self, MissingOrigin, OriginPattern};

use super::super::error::{Fault, Place, Problems};
use super::super::value;
use super::super::yaml::{Fields, Quoted, Spot};

/// The value of `cors`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Cors {
    /// `None`: the gateway has nothing to say there.
    pub(in crate::config) settings: Option<cors::Cors>,
    /// Whether every origin is allowed.
    pub(in crate::config) is_any: bool,
    pub(in crate::config) place: Place,
}

const MISSING: [(&str, MissingOrigin); 2] = [
    ("allow", MissingOrigin::Allow),
    ("refuse", MissingOrigin::Refuse),
];
const ANY: &str = "*";

impl Cors {
    /// A map, or `none`.
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let place = spot.place();
        if spot.is_scalar() {
            spot.value(problems, none)?;
            return Some(Self {
                settings: None,
                is_any: false,
                place,
            });
        }
        let mut fields = spot.fields(problems)?;
        let mut settings = cors::Cors::new();
        let mut is_any = false;
        for origin in list(&mut fields, "origins", problems, origin) {
            is_any |= origin.is_any();
            settings = settings.allow_origin(origin);
        }
        for method in list(&mut fields, "methods", problems, method) {
            settings = match method {
                Some(method) => settings.allow_method(method),
                None => settings.allow_any_method(),
            };
        }
        for name in list(&mut fields, "headers", problems, header) {
            settings = match name {
                Some(name) => settings.allow_header(name),
                None => settings.allow_any_header(),
            };
        }
        for name in list(&mut fields, "expose", problems, header) {
            settings = match name {
                Some(name) => settings.expose_header(name),
                None => settings.expose_any_header(),
            };
        }
        if let Some(spot) = fields.take("credentials")
            && let Some(allowed) = spot.truth(problems)
        {
            settings = settings.allow_credentials(allowed);
        }
        if let Some(spot) = fields.take("max_age")
            && let Some(age) = spot.value(problems, value::duration)
        {
            settings = settings.max_age(age);
        }
        if let Some(spot) = fields.take("missing_origin")
            && let Some(missing) = spot.name_of(problems, "way", &MISSING)
        {
            settings = settings.missing_origin(missing);
        }
        fields.finish(problems);
        Some(Self {
            settings: Some(settings),
            is_any,
            place,
        })
    }
}

fn list<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Vec<T> {
    let spots = fields.take(key);
    let spots = spots.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let spots = spots.iter();
    spots
        .filter_map(|spot| spot.value(problems, &parse))
        .collect()
}

fn none(text: &str) -> Result<(), Fault> {
    if text == "none" {
        return Ok(());
    }
    let fault = Fault::new(format!("{} is no CORS policy", Quoted(text)));
    Err(fault.suggest("write `{ origins: https://app.example }`, or `none`"))
}

fn origin(text: &str) -> Result<OriginPattern, Fault> {
    text.parse().map_err(|error| {
        let fault = Fault::new(format!("{} is no origin: {error}", Quoted(text)));
        fault.suggest("write `https://app.example`, `https://*.example` or `*`")
    })
}

/// `None`: any.
fn method(text: &str) -> Result<Option<Method>, Fault> {
    if text == ANY {
        return Ok(None);
    }
    value::method(text).map(Some)
}

/// `None`: any.
fn header(text: &str) -> Result<Option<HeaderName>, Fault> {
    if text == ANY {
        return Ok(None);
    }
    let name = HeaderName::try_from(text);
    let name = name.map_err(|_invalid| Fault::new(format!("{} is no header", Quoted(text))))?;
    Ok(Some(name))
}
