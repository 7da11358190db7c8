//! The notifications of image registries. What tells of reads is passed over: mostly they are our own.

use serde::Deserialize;

use super::{Capped, Change, Said, image};

/// How the registry names us in what we read.
const OUR_AGENT: &str = "towpath/";

/// What a layer is pushed as, by registries that tell of layers too.
const LAYER: &str = "application/octet-stream";

#[derive(Deserialize)]
struct Envelope {
    events: Capped<Event>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event {
    action: Option<String>,
    target: Target,
    request: Option<Request>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    media_type: Option<String>,
    repository: Option<String>,
    url: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    host: Option<String>,
    useragent: Option<String>,
}

/// The [envelope](https://distribution.github.io/distribution/about/notifications/) of the distribution
/// registry.
pub(super) fn distribution(body: &[u8]) -> serde_json::Result<Said> {
    let events = serde_json::from_slice::<Envelope>(body)?.events.0;
    let changes: Vec<Change> = events.into_iter().filter_map(Event::change).collect();
    let event = match changes.is_empty() {
        true => "other",
        false => "push",
    };
    Ok(Said { event, changes })
}

impl Event {
    fn change(self) -> Option<Change> {
        let changes = matches!(self.action.as_deref(), Some("push" | "delete"));
        let layer = self.target.media_type.as_deref() == Some(LAYER);
        if !changes || layer || self.is_ours() {
            return None;
        }
        let path = self.target.repository.as_ref()?;
        let asked = self.request.as_ref().and_then(|it| it.host.clone());
        let host = asked.filter(|host| !host.is_empty()).or_else(|| {
            let url: url::Url = self.target.url.as_ref()?.parse().ok()?;
            let host = url.host_str()?;
            let port = url.port().map(|port| format!(":{port}"));
            Some(format!("{host}{}", port.unwrap_or_default()))
        })?;
        let repository = format!("{host}/{path}").parse().ok()?;
        let digest = self.target.digest.and_then(|digest| digest.parse().ok());
        let tag = self.target.tag.filter(|tag| !tag.is_empty());
        let deletes = self.action.as_deref() == Some("delete");
        // What was deleted is not waited for.
        let tag = tag.filter(|_| !deletes).map(|tag| (tag, digest));
        Some(Change::Image(repository, tag))
    }

    fn is_ours(&self) -> bool {
        let agent = self.request.as_ref().and_then(|it| it.useragent.as_ref());
        agent.is_some_and(|agent| agent.starts_with(OUR_AGENT))
    }
}

#[derive(Deserialize)]
struct Harbor {
    #[serde(rename = "type")]
    kind: String,
    /// As `event_data`, or as the data of a CloudEvent.
    #[serde(alias = "data")]
    event_data: Option<HarborData>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HarborData {
    resources: Capped<HarborResource>,
}

#[derive(Deserialize)]
struct HarborResource {
    resource_url: Option<String>,
    digest: Option<String>,
}

/// Harbor's [webhooks](https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/),
/// in both of its formats.
pub(super) fn harbor(body: &[u8]) -> serde_json::Result<Said> {
    let harbor: Harbor = serde_json::from_slice(body)?;
    let event = match harbor.kind.as_str() {
        "PUSH_ARTIFACT" | "harbor.artifact.pushed" => "push",
        "DELETE_ARTIFACT" | "harbor.artifact.deleted" => "delete",
        _ => "other",
    };
    let resources = match event {
        "other" => Vec::new(),
        _ => harbor.event_data.unwrap_or_default().resources.0,
    };
    let changes = resources.into_iter().filter_map(|resource| {
        let digest = resource.digest.and_then(|digest| digest.parse().ok());
        Some(match image(&resource.resource_url?)? {
            Change::Image(repository, _) if event == "delete" => Change::Image(repository, None),
            Change::Image(repository, Some((tag, None))) => {
                Change::Image(repository, Some((tag, digest)))
            }
            change => change,
        })
    });
    Ok(Said {
        event,
        changes: changes.collect(),
    })
}

#[derive(Deserialize)]
struct DockerHub {
    push_data: PushData,
    repository: HubRepository,
}

#[derive(Deserialize)]
struct PushData {
    tag: Option<String>,
}

#[derive(Deserialize)]
struct HubRepository {
    repo_name: String,
}

/// Docker Hub's [webhooks](https://docs.docker.com/docker-hub/repos/manage/webhooks/). Their `callback_url` is
/// not called.
pub(super) fn docker_hub(body: &[u8]) -> serde_json::Result<Said> {
    let hub: DockerHub = serde_json::from_slice(body)?;
    let tag = hub.push_data.tag.map(|tag| format!(":{tag}"));
    let name = format!("{}{}", hub.repository.repo_name, tag.unwrap_or_default());
    Ok(Said {
        event: "push",
        changes: image(&format!("docker.io/{name}")).into_iter().collect(),
    })
}

#[derive(Deserialize)]
struct Quay {
    docker_url: Option<String>,
    /// Of pushes; notifications of other kinds have none.
    updated_tags: Option<Capped<String>>,
}

/// Quay's [notifications](https://docs.projectquay.io/use_quay.html#repository-notifications).
pub(super) fn quay(body: &[u8]) -> serde_json::Result<Said> {
    let quay: Quay = serde_json::from_slice(body)?;
    let changes = quay.docker_url.zip(quay.updated_tags).map(|(url, tags)| {
        let tags = tags.0.into_iter();
        tags.filter_map(|tag| image(&format!("{url}:{tag}")))
            .collect()
    });
    Ok(Said {
        event: match &changes {
            Some(_) => "push",
            None => "other",
        },
        changes: changes.unwrap_or_default(),
    })
}
