//! The pipeline.
/// placeholder
#[derive(Debug, Clone)]
pub enum FilterPlan {}
