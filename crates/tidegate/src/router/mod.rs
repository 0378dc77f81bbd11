//! The router.
/// placeholder
#[derive(Debug, Clone)]
pub struct Matcher;
/// placeholder
#[derive(Debug, Clone, Default)]
pub struct Captures;
/// placeholder
#[derive(Debug, Clone)]
pub struct Path;
