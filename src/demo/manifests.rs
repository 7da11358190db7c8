//! What stands in the demo's infra repositories: plain manifests for one cluster each.

/// The name of the application, its Deployment and its repositories.
pub const APPLICATION: &str = "pipeline-application";

/// The file that names the image.
pub const DEPLOYMENT: &str = "kubernetes/deployments/pipeline-application.yaml";

/// The files of an environment's repository, with their paths.
pub fn files(environment: &str, image: &str) -> Vec<(&'static str, String)> {
    let host = match environment {
        "production" => "pipeline.example.com".to_owned(),
        other => format!("{other}.pipeline.example.com"),
    };
    let mut files = vec![
        (DEPLOYMENT, deployment(image)),
        (
            "kubernetes/services/pipeline-application.yaml",
            SERVICE.to_owned(),
        ),
        (
            "kubernetes/ingresses/pipeline-application.yaml",
            INGRESS.replace("HOST", &host),
        ),
    ];
    if environment == "production" {
        files.push(("patches/replicas.yaml", REPLICAS.to_owned()));
    }
    files
}

/// The same for a real cluster: nothing that reaches out of the namespace (an Ingress may make a load
/// balancer, and names in a zone), and pods that any cluster lets run.
pub fn abroad(environment: &str, image: &str) -> Vec<(&'static str, String)> {
    let mut files = files(environment, image);
    files.retain(|(path, _)| !path.contains("/ingresses/"));
    for (path, text) in &mut files {
        if *path == DEPLOYMENT {
            text.push_str(RESTRICTED);
        }
    }
    files
}

/// What the strictest policy asks of a pod
/// ([restricted](https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted)), and what
/// quotas ask.
const RESTRICTED: &str = "          resources:
            requests: { cpu: 1m, memory: 4Mi }
            limits: { cpu: 50m, memory: 16Mi }
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: { drop: [ALL] }
            runAsNonRoot: true
            runAsUser: 65535
            seccompProfile: { type: RuntimeDefault }
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
";

fn deployment(image: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {APPLICATION}
  labels: {{ app: {APPLICATION} }}
spec:
  replicas: 1
  selector:
    matchLabels: {{ app: {APPLICATION} }}
  template:
    metadata:
      labels: {{ app: {APPLICATION} }}
    spec:
      containers:
        - name: {APPLICATION}
          image: {image}  # set by Towpath
          ports:
            - containerPort: 8080
"
    )
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: pipeline-application
spec:
  selector: { app: pipeline-application }
  ports:
    - port: 80
      targetPort: 8080
";

const INGRESS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: pipeline-application
spec:
  rules:
    - host: HOST
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: pipeline-application
                port: { number: 80 }
";

const REPLICAS: &str = "\
# Production runs three of what the other environments run one of.
target: { kind: Deployment, name: pipeline-application }
patch:
  - { op: replace, path: /spec/replicas, value: 3 }
";
