//! A hundred new digests for one infra repository, told in one notification.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use towpath::demo::git_server::Endpoint;
use towpath::event::EventKind;

use crate::fixture::{Fixture, applications, directory, environment, run};
use crate::table::{self, milliseconds};

const APPLICATIONS: usize = 100;
const ROUNDS: usize = 3;

pub(crate) async fn measure() -> Result<()> {
    let fixture = Fixture::start_with(false).await?;
    let names: Vec<String> = (0..APPLICATIONS).map(|it| format!("app-{it:03}")).collect();
    let mut files = Vec::new();
    for name in &names {
        let path = format!("acme/{name}");
        let digest = fixture.push_image(&path, "main-0000000", 0).await?;
        let image = format!("{}:main-0000000@{digest}", fixture.image(&path));
        files.extend(directory(&format!("kubernetes/{name}"), name, &image));
    }
    let master = fixture.repository("staging", files).await?;
    let configuration = [
        environment(
            "staging",
            &fixture.git.url("staging"),
            "kubernetes/{application}",
            "follow: { branches: ['*', '!master'] }",
        ),
        applications(
            names
                .iter()
                .map(|it| (it.clone(), fixture.image(&format!("acme/{it}")))),
            &["staging"],
        ),
    ];
    let mut tow = fixture.tow(&configuration).await?;
    let commits = || run(&master, "git", &["rev-list", "--count", "master"]);
    let pushes = || fixture.git.count("staging", Endpoint::Receive);
    let looks = || fixture.git.count("staging", Endpoint::Upload);
    let mut rows = Vec::new();
    for round in 1..=ROUNDS {
        let tag = format!("main-{round:07x}");
        for name in &names {
            fixture
                .push_image(&format!("acme/{name}"), &tag, round)
                .await?;
        }
        let before: usize = commits().await?.parse()?;
        let (pushed, looked) = (pushes(), looks());
        let mut events = tow.reconciler.events();
        let start = Instant::now();
        let body = json!({ "events": names.iter().map(|name| json!({
            "action": "push",
            "request": { "host": fixture.registry.address().to_string() },
            "target": { "repository": format!("acme/{name}"), "tag": tag },
        })).collect::<Vec<_>>() });
        let request = fixture.client.post(fixture.hooks_url.clone());
        request
            .body(body.to_string())
            .send()
            .await?
            .error_for_status()?;
        let (mut landed, mut first) = (0, Duration::ZERO);
        while landed < APPLICATIONS {
            let event = tokio::time::timeout(Duration::from_secs(60), events.recv())
                .await
                .with_context(|| format!("only {landed} landed"))??;
            if event.kind == EventKind::Committed {
                landed += 1;
                if landed == 1 {
                    first = start.elapsed();
                }
            }
        }
        let all = start.elapsed();
        let (pushed, looked) = (pushes() - pushed, looks() - looked);
        tow.settle().await?;
        let made = commits().await?.parse::<usize>()? - before;
        ensure!(
            made == APPLICATIONS,
            "{made} commits for {APPLICATIONS} digests"
        );
        rows.push(vec![
            format!("round {round}"),
            milliseconds(first),
            milliseconds(all),
            made.to_string(),
            pushed.to_string(),
            looked.to_string(),
            milliseconds(start.elapsed()),
        ]);
    }
    tow.stop().await?;
    table::print(
        &format!("{APPLICATIONS} digests for one repository, told at once"),
        &[
            "",
            "first landed, ms",
            "all landed, ms",
            "commits",
            "pushes by then",
            "looks by then",
            "applied, judged, tagged, ms",
        ],
        rows,
    );
    Ok(())
}
