//! What the server judged before its apply was due is not asked again, as long as it is about the very same request.

use towpath::cluster::ClusterError;

use super::site::{Site, config_map};

#[tokio::test]
async fn what_was_judged_ahead_is_applied_without_asking_again() {
    let Some(site) = Site::new("ahead").await else {
        return;
    };
    site.apply(&config_map("one", "a")).await.unwrap();

    let before = site.asked();
    let step = site.plan(&config_map("one", "b")).await;
    site.judge_ahead(&step).await;
    assert_eq!(site.asked_since(&before), ["dry run configmaps/one"]);
    site.run(&step).await.unwrap();
    let asked = ["dry run configmaps/one", "apply configmaps/one"];
    assert_eq!(site.asked_since(&before), asked);

    // It is taken once, and for another request not at all.
    let before = site.asked();
    site.judge_ahead(&site.plan(&config_map("one", "c")).await)
        .await;
    site.apply(&config_map("one", "d")).await.unwrap();
    let asked = [
        "dry run configmaps/one",
        "dry run configmaps/one",
        "apply configmaps/one",
    ];
    assert_eq!(site.asked_since(&before), asked);
}

#[tokio::test]
async fn what_changed_since_it_was_judged_ahead_is_not_overwritten() {
    let Some(site) = Site::new("ahead").await else {
        return;
    };
    site.apply(&config_map("one", "a")).await.unwrap();
    let step = site.plan(&config_map("one", "b")).await;
    site.judge_ahead(&step).await;
    // Somebody with a later plan is faster.
    site.apply(&config_map("one", "c")).await.unwrap();
    let error = site.run(&step).await.expect_err("it moved");
    assert!(matches!(error, ClusterError::Changed { .. }), "{error}");
    let one = site.live("ConfigMap one").await.unwrap();
    assert!(one["data"].to_string().contains('c'), "{one}");
}
