//! The three namespaces of a real cluster that the demo plays in.
//!
//! Owns making them, and deleting those that it made; one that no demo made is left alone, and so is
//! everything outside of them. What happens in them is Towpath's doing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::{Client, ResourceExt as _};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::manifests::APPLICATION;
use super::place::ENVIRONMENTS;
use super::rights;
use crate::clock;
use crate::cluster::kubernetes::answer::{self, Asked};
use crate::cluster::kubernetes::connect::{Access, Connection, Target};
use crate::model::{Digest, ImageRepository};

/// Stands on every namespace that a demo made: `playing` or `kept`.
const LABEL: &str = "towpath.dev/demo";

/// Which demo made it.
const RUN: &str = "towpath.dev/demo-run";

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a namespace may take to come alive, and to go: finalizers of a cluster's own take their time.
const ALIVE: Duration = Duration::from_secs(30);
const GONE: Duration = Duration::from_secs(180);

/// How often is looked whether it did.
const LOOK: Duration = Duration::from_millis(250);

/// A demo that began longer ago is over: none of its waits is this long.
const OVER: SignedDuration = SignedDuration::from_mins(30);

/// Which cluster a person chose, and what its nodes pull.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// A context of the kubeconfig.
    pub context: String,
    /// The kubeconfig; `None`: the user's own.
    pub kubeconfig: Option<PathBuf>,
    /// The image repository that the nodes pull from.
    pub images: ImageRepository,
}

/// See the module.
pub struct Ground {
    /// What was chosen.
    pub chosen: Chosen,
    /// The address of the cluster's API.
    pub server: String,
    client: Client,
    run: String,
    label: &'static str,
}

/// What the cluster runs of an environment.
#[derive(Debug, Serialize)]
pub struct Running {
    /// The environment.
    pub environment: String,
    /// Its namespace.
    pub namespace: String,
    /// The image of its Deployment.
    pub image: String,
    /// How many pods of it are available.
    pub available: i32,
    /// The environment that its mark names.
    pub marked: String,
}

/// The namespace of an environment.
pub fn namespace(environment: &str) -> String {
    format!("towpath-demo-{environment}")
}

/// All three, for people.
pub fn namespaces() -> [String; 3] {
    ENVIRONMENTS.map(namespace)
}

impl Ground {
    /// Finds the cluster. Its namespaces are to be kept, or not. Asks it nothing yet.
    ///
    /// # Errors
    /// The kubeconfig cannot be read or has no such context.
    pub async fn find(chosen: Chosen, keep: bool) -> anyhow::Result<Self> {
        let connection = Connection::new(Access {
            target: Target::Context {
                context: chosen.context.clone(),
                kubeconfig: chosen.kubeconfig.clone(),
            },
            timeout: TIMEOUT,
            proxy: None,
        });
        let server = connection.server().await.map_err(|why| anyhow!(why))?;
        let run = format!("{} {}", clock::now(), std::process::id());
        Ok(Self {
            chosen,
            server,
            client: Arc::clone(&connection).client(),
            run: Digest::of(run.as_bytes()).short(),
            label: if keep { "kept" } else { "playing" },
        })
    }

    /// Asks whether everything may be done there, and looks for namespaces that stand in the way.
    /// Changes nothing. What an earlier demo left is named.
    ///
    /// # Errors
    /// A right that is missing, or a namespace that is not ours to delete.
    pub async fn check(&self, now: Timestamp) -> anyhow::Result<Vec<String>> {
        let missing = rights::missing(&self.client, &namespaces()).await?;
        if !missing.is_empty() {
            bail!(
                "context `{}` may not do there what the demo needs; nothing was changed. Missing:\n  {}",
                self.chosen.context,
                missing.join("\n  ")
            );
        }
        let mut left = Vec::new();
        for name in namespaces() {
            let Some(found) = self.get(&name).await? else {
                continue;
            };
            let made = found.labels().get(LABEL);
            let Some(made) = made else {
                bail!(
                    "the namespace {name} is there and no demo made it (it has no label `{LABEL}`): it is left alone. Name another context, or rename it"
                );
            };
            let began = found.creation_timestamp().map(|at| at.0);
            let over = began.is_none_or(|began| now.duration_since(began) > OVER);
            if made == "playing" && !over && found.metadata.deletion_timestamp.is_none() {
                bail!(
                    "the namespace {name} was made a moment ago, by a demo that may be playing: wait for its end, or delete what it left with `{}`",
                    self.command()
                );
            }
            left.push(name);
        }
        Ok(left)
    }

    /// Makes the namespaces, in place of those that an earlier demo left.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn make(&self, left: &[String], stop: &CancellationToken) -> anyhow::Result<()> {
        for name in left {
            if let Some(found) = self.get(name).await?
                && found.labels().contains_key(LABEL)
            {
                self.delete(&found).await?;
            }
        }
        for name in left {
            self.until_gone(name).await?;
        }
        for name in namespaces() {
            anyhow::ensure!(!stop.is_cancelled(), "stopped before the end");
            let namespace = Namespace {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    labels: Some(BTreeMap::from([(LABEL.to_owned(), self.label.to_owned())])),
                    annotations: Some(BTreeMap::from([(RUN.to_owned(), self.run.clone())])),
                    ..ObjectMeta::default()
                },
                ..Namespace::default()
            };
            let made = self.all().create(&PostParams::default(), &namespace).await;
            made.map_err(|error| self.error("create", &error))
                .with_context(|| format!("the namespace {name} cannot be made"))?;
        }
        for name in namespaces() {
            self.until_alive(&name).await?;
        }
        Ok(())
    }

    /// Deletes the namespaces that this demo made, with everything in them, and waits until they are gone.
    ///
    /// # Errors
    /// Says what is still there, and how to delete it.
    pub async fn clear(&self) -> anyhow::Result<()> {
        let mut ours = Vec::new();
        let cleared = async {
            for name in namespaces() {
                if let Some(found) = self.get(&name).await?
                    && found.annotations().get(RUN) == Some(&self.run)
                {
                    self.delete(&found).await?;
                    ours.push(name);
                }
            }
            for name in &ours {
                self.until_gone(name).await?;
            }
            anyhow::Ok(())
        };
        cleared.await.with_context(|| {
            format!(
                "not everything is deleted on {}: look with `kubectl --context {} get namespace -l {LABEL}`, and delete it with `{}`",
                self.server,
                super::story::quoted(&self.chosen.context),
                self.command()
            )
        })
    }

    /// The command that deletes them.
    pub fn command(&self) -> String {
        format!(
            "kubectl --context {} delete namespace {}",
            super::story::quoted(&self.chosen.context),
            namespaces().join(" ")
        )
    }

    /// What runs in each environment.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn running(&self) -> anyhow::Result<Vec<Running>> {
        let mut all = Vec::new();
        for environment in ENVIRONMENTS {
            let namespace = namespace(environment);
            let api = Api::<Deployment>::namespaced(self.client.clone(), &namespace);
            let found = api.get(APPLICATION).await;
            let found =
                found.with_context(|| format!("{namespace}/{APPLICATION} cannot be read"))?;
            let pods = found.spec.as_ref().and_then(|it| it.template.spec.as_ref());
            let image = pods.and_then(|pods| pods.containers.first()?.image.clone());
            let marked = found.labels().get("towpath.dev/environment").cloned();
            let status = found.status.as_ref();
            all.push(Running {
                environment: environment.to_owned(),
                image: image.unwrap_or_default(),
                available: status.and_then(|it| it.available_replicas).unwrap_or(0),
                marked: marked.unwrap_or_default(),
                namespace,
            });
        }
        Ok(all)
    }

    /// Pods can be made only once the namespace has its service account.
    async fn until_alive(&self, name: &str) -> anyhow::Result<()> {
        let api = Api::<ServiceAccount>::namespaced(self.client.clone(), name);
        let alive = async {
            while api.get_opt("default").await?.is_none() {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(ALIVE, alive).await {
            Ok(alive) => alive.map_err(|error| self.error("get", &error)),
            Err(_) => bail!(
                "the namespace {name} got no service account within {} s: does the cluster's controller manager run?",
                ALIVE.as_secs()
            ),
        }
    }

    async fn until_gone(&self, name: &str) -> anyhow::Result<()> {
        let gone = async {
            while self.get(name).await?.is_some() {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(GONE, gone).await {
            Ok(gone) => gone,
            Err(_) => bail!(
                "the namespace {name} is still being deleted after {} s: its status says what for",
                GONE.as_secs()
            ),
        }
    }

    async fn get(&self, name: &str) -> anyhow::Result<Option<Namespace>> {
        let found = self.all().get_opt(name).await;
        found.map_err(|error| self.error("get", &error))
    }

    /// Deletes the very namespace that was seen.
    async fn delete(&self, seen: &Namespace) -> anyhow::Result<()> {
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: seen.uid(),
            resource_version: None,
        });
        match self.all().delete(&seen.name_any(), &params).await {
            Err(error) if !answer::is(&error, 404) && !answer::is(&error, 409) => {
                Err(self.error("delete", &error))
            }
            _ => Ok(()),
        }
    }

    fn all(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }

    fn error(&self, verb: &'static str, error: &kube::Error) -> anyhow::Error {
        let asked = Asked {
            verb,
            resource: "namespaces".to_owned(),
            namespace: None,
        };
        anyhow!("{}: {}", self.server, answer::detail(&asked, error))
    }
}
