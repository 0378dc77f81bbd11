//! `routes`: which requests go through which filters to where.

use super::super::error::{Place, Problems};
use super::super::plan::RouteLimits;
use super::super::yaml::{Located, Spot};
use super::{Cors, Filter, Match, Proxy, limits, name};

/// One item of `routes`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Route {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) matcher: Option<Match>,
    pub(in crate::config) filters: Vec<Located<Filter>>,
    pub(in crate::config) cors: Option<Cors>,
    pub(in crate::config) limits: RouteLimits,
    pub(in crate::config) proxy: Option<Proxy>,
    pub(in crate::config) place: Place,
}

impl Route {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let name = fields
            .need("name", "name: chat", problems)
            .and_then(|spot| name(&spot, problems));
        let matcher = fields
            .need("match", "match: { path: /** }", problems)
            .and_then(|spot| Match::read(&spot, problems));
        let filters = fields.take("filters");
        let filters = filters.map_or_else(Vec::new, |spot| spot.any_number());
        let filters = filters.iter();
        let filters = filters
            .filter_map(|spot| Filter::read(spot, problems))
            .collect();
        let cors = fields.take("cors");
        let cors = cors.and_then(|spot| Cors::read(&spot, problems));
        let limits = fields.take("limits");
        let limits = limits.and_then(|spot| limits::route(&spot, problems));
        let proxy = fields
            .need("proxy", "proxy: { service: chat }", problems)
            .and_then(|spot| Proxy::read(&spot, problems));
        let place = fields.place().clone();
        fields.finish(problems);
        Some(Self {
            name,
            matcher,
            filters,
            cors,
            limits: limits.unwrap_or_default(),
            proxy,
            place,
        })
    }
}
