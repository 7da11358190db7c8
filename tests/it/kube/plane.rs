//! One Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, and as much of a kubelet
//! as hands out logs, each a process of its own on a loopback port that stays ours. Owns starting and ending
//! them and who may log in; never what pods do or write (`pods.rs`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

/// Everything starts within this, also on a machine that does other things at the same time.
const START: Duration = Duration::from_secs(120);

/// How often a part is asked whether it is as wanted.
pub(super) const ASK: Duration = Duration::from_millis(20);

/// How many users without any right a plane knows.
const USERS: usize = 200;

/// What rollouts, jobs and ownership need; namespaces' deletion is built in. No scheduler and no nodes' life:
/// `pods.rs` is both.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
    daemonset-controller,job-controller,cronjob-controller,ttl-after-finished-controller,\
    garbage-collector-controller,serviceaccount-controller,\
    resourcequota-controller,root-ca-certificate-publisher-controller";

/// The folder of the logs that the kubelet hands out.
const LOGS: &str = "logs";

/// The kubeconfig of the controllers.
const CONTROLLERS_LOGIN: &str = "controllers.kubeconfig";

/// Who wrote and read what, counted when it arrives: the line is there before the answer is. What was sent
/// stands in it where `admin` patches.
const AUDIT: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted]
rules:
  - { level: None, users: [pods, controllers, "system:apiserver"] }
  - { level: None, nonResourceURLs: ["/readyz*"] }
  - { level: Request, users: [admin], verbs: [patch] }
  - { level: Metadata }
"#;

/// A running plane; its processes and its directory go when it is dropped, or when this process ends.
pub(crate) struct Plane {
    pub(super) etcd: Part,
    pub(super) apiserver: Part,
    pub(super) controllers: Part,
    pub(super) kubelet: Part,
    pub(super) ports: Ports,
    pub(super) directory: tempfile::TempDir,
    authority: String,
    users: AtomicUsize,
}

/// Who logs in to a plane, with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The name that roles are bound to and that the audit log shows.
    pub(crate) name: String,
}

/// The one node: its kubelet only hands out what is written here for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Where the API server asks for logs.
    pub(crate) port: u16,
    /// The folder of the logs: `NAMESPACE/POD/CONTAINER`, and `CONTAINER.previous` for what a container
    /// wrote before its last restart.
    pub(crate) logs: PathBuf,
}

/// One process of a plane. It ends when its standard input does.
pub(super) struct Part {
    pub(super) child: Child,
    pub(super) name: &'static str,
    log: PathBuf,
}

pub(super) struct Ports {
    etcd: Port,
    peer: Port,
    apiserver: Port,
    kubelet: Port,
}

/// A port that nobody else gets while it is held: bound with `SO_REUSEPORT` and never listening, so that
/// only a part that says the same can serve on it, now and after it was killed.
struct Port {
    number: u16,
    _held: TcpSocket,
}

impl Plane {
    /// Starts one from the binary that `tests/testbed/build` makes, and waits until it serves.
    ///
    /// # Errors
    /// The part that did not start, with the end of its log.
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("towpath-plane-")
            .tempdir()?;
        let at = directory.path();
        let made = Command::new(binary).arg("keys").arg(at).output().await;
        let made = made.with_context(|| format!("{} does not run", binary.display()))?;
        ensure!(
            made.status.success(),
            "no keys: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        std::fs::write(at.join("audit.yaml"), AUDIT)?;
        std::fs::write(at.join("tokens.csv"), tokens())?;
        std::fs::create_dir(at.join(LOGS))?;
        let ports = Ports {
            etcd: Port::reserve()?,
            peer: Port::reserve()?,
            apiserver: Port::reserve()?,
            kubelet: Port::reserve()?,
        };
        let authority =
            base64::engine::general_purpose::STANDARD.encode(std::fs::read(at.join("ca.crt"))?);
        std::fs::write(
            at.join(CONTROLLERS_LOGIN),
            kubeconfig("plane", ports.apiserver.number, &authority, "controllers")?,
        )?;
        let mut etcd = Part::start("etcd", binary, at, etcd_flags(at, &ports))?;
        let mut apiserver = Part::start("apiserver", binary, at, apiserver_flags(at, &ports))?;
        let mut kubelet = Part::start("kubelet", binary, at, kubelet_flags(at, &ports))?;
        let asking = client(&std::fs::read_to_string(at.join(CONTROLLERS_LOGIN))?).await?;
        wait_until_ready(&asking, &mut [&mut etcd, &mut apiserver]).await?;
        wait_until_open(&ports.kubelet, &mut kubelet).await?;
        // It gives up where there is no API server within ten seconds.
        let controllers = Part::start("controller-manager", binary, at, controller_flags(at))?;
        Ok(Self {
            etcd,
            apiserver,
            controllers,
            kubelet,
            ports,
            directory,
            authority,
            users: AtomicUsize::new(0),
        })
    }

    /// The user who may do everything.
    pub(crate) fn admin() -> User {
        User::named("admin")
    }

    /// The user who writes pods' statuses, and whom the audit log leaves out.
    pub(crate) fn faker() -> User {
        User::named("pods")
    }

    /// A user whom this plane has not handed out yet and who may do nothing but look around.
    pub(crate) fn new_user(&self) -> User {
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        assert!(number < USERS, "more users are needed: raise USERS");
        User::named(&format!("user-{number}"))
    }

    /// The user's kubeconfig, as text, with one context of this name.
    pub(crate) fn kubeconfig(&self, context: &str, user: &User) -> anyhow::Result<String> {
        kubeconfig(
            context,
            self.ports.apiserver.number,
            &self.authority,
            &user.name,
        )
    }

    /// A client that is this user. It belongs to the runtime that it is made in.
    pub(crate) async fn client(&self, user: &User) -> anyhow::Result<Client> {
        client(&self.kubeconfig("plane", user)?).await
    }

    /// The audit log: one JSON object a line.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// What its pods run on.
    pub(crate) fn node(&self) -> Node {
        Node {
            port: self.ports.kubelet.number,
            logs: self.directory.path().join(LOGS),
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        for part in [
            &mut self.controllers,
            &mut self.kubelet,
            &mut self.apiserver,
            &mut self.etcd,
        ] {
            part.kill();
        }
    }
}

impl User {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }
}

impl Part {
    /// A process group of its own: what is typed at a terminal ends the tests, and with their end of the
    /// pipe the part.
    pub(super) fn start(
        name: &'static str,
        binary: &Path,
        directory: &Path,
        flags: Vec<String>,
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)?;
        let child = Command::new(binary)
            .arg(name)
            .args(flags)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not run", binary.display()))?;
        Ok(Self { child, name, log })
    }

    fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended: {status}\n{}", self.name, self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Kills it and waits until it is gone: what it has open would keep its directory.
    fn kill(&mut self) {
        let killed = self.child.start_kill();
        let began = Instant::now();
        while killed.is_ok()
            && matches!(self.child.try_wait(), Ok(None))
            && began.elapsed() < Duration::from_secs(5)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Port {
    fn reserve() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let number = socket.local_addr()?.port();
        Ok(Self {
            number,
            _held: socket,
        })
    }
}

/// Asks until the API server says yes.
///
/// # Errors
/// A part ended, or it takes too long: with the end of that part's log.
pub(super) async fn wait_until_ready(
    client: &Client,
    parts: &mut [&mut Part],
) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let request = axum::http::Request::get("/readyz").body(Vec::new())?;
        let answer = tokio::time::timeout(Duration::from_secs(5), client.request_text(request));
        if matches!(answer.await, Ok(Ok(_))) {
            return Ok(());
        }
        for part in parts.iter_mut() {
            part.check_alive()?;
            if began.elapsed() > START {
                bail!("not ready: {} says\n{}", part.name, part.last_words());
            }
        }
        tokio::time::sleep(ASK).await;
    }
}

/// Waits until somebody listens on the part's port.
///
/// # Errors
/// The part ended, or it takes too long: with the end of its log.
async fn wait_until_open(port: &Port, part: &mut Part) -> anyhow::Result<()> {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port.number))
        .await
        .is_err()
    {
        part.check_alive()?;
        if began.elapsed() > START {
            bail!("not ready: {} says\n{}", part.name, part.last_words());
        }
        tokio::time::sleep(ASK).await;
    }
    Ok(())
}

async fn client(kubeconfig: &str) -> anyhow::Result<Client> {
    let text = Kubeconfig::from_yaml(kubeconfig)?;
    let only = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(text, &only).await?;
    Ok(Client::try_from(config)?)
}

fn kubeconfig(context: &str, port: u16, authority: &str, user: &str) -> anyhow::Result<String> {
    let login = format!("{context}-{user}");
    let server = format!("https://127.0.0.1:{port}");
    Ok(serde_yaml::to_string(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": context, "cluster": { "server": server, "certificate-authority-data": authority } }],
        "users": [{ "name": login, "user": { "token": token(user) } }],
        "contexts": [{ "name": context, "context": { "cluster": context, "user": login } }],
        "current-context": context,
    }))?)
}

/// The bed's own users may do everything; the others get their rights from the test.
fn tokens() -> String {
    let own = ["admin", "controllers", "pods"]
        .map(|name| format!("{},{name},{name},system:masters\n", token(name)));
    let others = (0..USERS).map(|number| {
        let name = format!("user-{number}");
        format!("{},{name},{name}\n", token(&name))
    });
    own.into_iter().chain(others).collect()
}

/// A plane serves this machine only and keeps nothing worth a secret.
fn token(user: &str) -> String {
    format!("{user}-token")
}

pub(super) fn etcd_flags(at: &Path, ports: &Ports) -> Vec<String> {
    vec![
        format!("--data-dir={}", at.join("etcd").display()),
        format!("--client=http://127.0.0.1:{}", ports.etcd.number),
        format!("--peer=http://127.0.0.1:{}", ports.peer.number),
        format!("--remove={}", at.display()),
    ]
}

pub(super) fn apiserver_flags(at: &Path, ports: &Ports) -> Vec<String> {
    let file = |name: &str| at.join(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd.number),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.apiserver.number),
        "--permit-port-sharing".to_owned(),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--service-account-key-file={}", file("sa.key")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        // There is nobody to take a new node's taint away again.
        "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
        format!("--kubelet-certificate-authority={}", file("ca.crt")),
        format!("--audit-policy-file={}", file("audit.yaml")),
        format!("--audit-log-path={}", file("audit.log")),
        "--audit-log-mode=blocking-strict".to_owned(),
    ]
}

fn kubelet_flags(at: &Path, ports: &Ports) -> Vec<String> {
    let file = |name: &str| at.join(name).display().to_string();
    vec![
        format!("--address=127.0.0.1:{}", ports.kubelet.number),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--logs={}", file(LOGS)),
    ]
}

pub(super) fn controller_flags(at: &Path) -> Vec<String> {
    let file = |name: &str| at.join(name).display().to_string();
    vec![
        format!("--kubeconfig={}", file(CONTROLLERS_LOGIN)),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
        format!("--controllers={CONTROLLERS}"),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--root-ca-file={}", file("ca.crt")),
    ]
}
