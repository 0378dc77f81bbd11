//! `proxy_protocol`: which peers of a listener say for whom they speak.

use super::super::error::Problems;
use super::super::plan::ProxyProtocolPlan;
use super::super::value;
use super::super::yaml::Spot;
use super::located;

/// Whether the header may be left out.
const HEADERS: [(&str, bool); 2] = [("required", false), ("optional", true)];

/// The value of `proxy_protocol`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<ProxyProtocolPlan> {
    let mut fields = spot.fields(problems)?;
    let trusted = fields.need("trusted", "trusted: [10.0.0.0/8]", problems);
    let trusted = trusted.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let mut networks = Vec::with_capacity(trusted.len());
    for spot in &trusted {
        let Some(network) = located(spot, problems, value::network) else {
            continue;
        };
        if network.value.prefix_len() == 0 {
            let message = "every peer may say whom it speaks for";
            problems.doubt(
                &network.place,
                message,
                "name the networks of the balancers",
            );
        }
        networks.push(network.value);
    }
    let header = fields.take("header");
    let header = header.and_then(|spot| spot.name_of(problems, "choice", &HEADERS));
    fields.finish(problems);
    Some(ProxyProtocolPlan {
        trusted: networks.into(),
        is_optional: header.unwrap_or(false),
    })
}
