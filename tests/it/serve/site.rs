//! A Towpath with a listener: the demo's git server, registry and configuration, which is looked at by
//! itself once an hour only, so that what happens soon was woken.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use towpath::cli::setup::Setup;
use towpath::clock;
use towpath::config::{Location, Poll};
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::place::{ENVIRONMENTS, Keep, Place};
use towpath::event::{Event, EventKind};
use towpath::model::{Admission, Credential, Sender, TlsFiles, Webhooks};
use towpath::secret::Secret;
use towpath::serve::{self, Door, Hooks, Keys};

pub(super) const SECRET: &str = "It's a Secret to Everybody";
pub(super) const OLDER: &str = "the one before";

/// How long anything may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Site {
    pub(super) place: Place,
    pub(super) client: reqwest::Client,
    pub(super) address: SocketAddr,
    pub(super) stop: CancellationToken,
    events: tokio::sync::broadcast::Receiver<Event>,
}

impl Site {
    /// Everything runs, and each unit has its baseline.
    pub(super) async fn start() -> Self {
        let mut site = Self::start_with(Duration::from_secs(3600), None).await;
        for _ in ENVIRONMENTS {
            site.until(EventKind::Recorded).await;
        }
        site
    }

    /// The same with this pace and certificate, and nothing waited for.
    pub(super) async fn start_with(poll: Duration, tls: Option<TlsFiles>) -> Self {
        let place = Place::open(&Keep::Nothing, None, false).await.unwrap();
        let client = place.client.clone();
        let image = push(&place, "v1.0.0").await;
        for environment in ENVIRONMENTS {
            place.infra(environment, &image).await.unwrap();
        }
        let source = place
            .repository("pipeline-application", "Ada")
            .await
            .unwrap();
        let files = [("README", "The application\n".to_owned())];
        source.commit(&files, "The application").await.unwrap();
        source.git(&["push", "-q", "origin", "HEAD"]).await.unwrap();
        let (secret, older) = (place.root().join("secret"), place.root().join("older"));
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        std::fs::write(&older, OLDER).unwrap();
        let folder = Location::Folder(place.configuration());
        let mut setup = Setup::load(folder).await.unwrap();
        setup.config.settings.cache = Some(place.cache());
        setup.config.settings.poll = Poll {
            git: poll,
            registry: poll,
            forge: poll,
        };
        let reconciler = setup.reconciler(&[], clock::now()).unwrap();
        let keys = Keys::new(&webhooks(&[secret, older]));
        keys.read().await.unwrap();
        let hooks = Hooks::new(keys, setup.meter.clone());
        hooks.serve(&reconciler);
        let stop = CancellationToken::new();
        let door = Door {
            address: ([127, 0, 0, 1], 0).into(),
            tls,
        };
        let address = serve::listen(door, hooks, stop.clone()).await.unwrap();
        let events = reconciler.events();
        tokio::spawn(reconciler.run(stop.clone()));
        Self {
            place,
            client,
            address,
            stop,
            events,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What is answered to a GET: its status and text.
    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Waits until something of this kind happens.
    pub(super) async fn until(&mut self, kind: EventKind) -> Event {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.recv().await.unwrap();
                if event.kind == kind {
                    return event;
                }
            }
        });
        let Ok(event) = waited.await else {
            panic!("no {kind:?} within {PATIENCE:?}");
        };
        event
    }

    /// Pushes an image of which nobody tells.
    pub(super) async fn push(&self, tag: &str) {
        push(&self.place, tag).await;
    }

    pub(super) fn image(&self) -> String {
        self.place.image_repository().unwrap().to_string()
    }

    /// The address of an infra repository.
    pub(super) fn infra(&self, environment: &str) -> String {
        let name = format!("pipeline-application-infra-{environment}");
        self.place.git.url(&name)
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        drop(self.place.stop().await);
    }
}

async fn push(place: &Place, tag: &str) -> String {
    let repository = place.image_repository().unwrap();
    let image = ImageSpec {
        content: tag.to_owned(),
        created: Some(clock::now()),
        ..ImageSpec::default()
    };
    let target = Target {
        registry: &place.registry.url(),
        repository: repository.path(),
        tag,
        authorization: None,
    };
    let digest = image.build().push(&place.client, &target).await.unwrap();
    format!("{repository}:{tag}@{digest}")
}

/// Every sender but Quay, with these secrets.
pub(super) fn webhooks(secrets: &[PathBuf]) -> Webhooks {
    let secrets = secrets.iter().map(|path| Credential::File {
        path: path.clone(),
        user: None,
    });
    let secrets = Admission::Secrets(secrets.collect());
    let senders = Sender::ALL.into_iter().filter(|it| *it != Sender::Quay);
    senders
        .map(|sender| (sender, secrets.clone()))
        .collect::<BTreeMap<_, _>>()
}

/// The signature of a body.
pub(super) fn signed(secret: &str, body: &[u8]) -> String {
    serve::signature(&Secret::new(secret), body)
}
