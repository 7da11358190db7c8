//! The built program on a real cluster, allowed what `towpath rbac` prints and nothing else: it tows,
//! looks, and changes nothing while it only looks.

use serde_json::Value;

use super::Bed;
use super::audit::asked;
use super::bed::apply;
use super::plane::User;
use crate::looks::Site;

const WIDE: &str = "\
- ConfigMap NS/gone would be deleted

+ ConfigMap NS/settings would be created
+apiVersion: v1
+kind: ConfigMap
+metadata:
+  name: settings
+  namespace: NS
+data:
+  a: b

~ Secret NS/db would be changed
@@ /data @@
   namespace: NS
 data:
   host: (hidden)
-  password: (hidden, before)
+  password: (hidden, after)
 type: Opaque

~ Deployment.apps NS/web would be changed
@@ /spec @@
   namespace: NS
 spec:
   progressDeadlineSeconds: 600
-  replicas: 1
+  replicas: 2
   revisionHistoryLimit: 10
   selector:
     matchLabels:

1 created, 2 changed, 1 deleted, 2 unchanged
";

const NARROW: &str = "\
~ Deployment.apps NS/web would be changed
@@ /spec/template/spec/containers/[name=web]/env/[name=LEVEL] @@
       - name: web
         env:
         - name: LEVEL
-          value: info
+          value: debug
         image: IMAGE
         imagePullPolicy: IfNotPresent
         resources: {}

1 changed, 1 unchanged
";

/// How often these users asked for something to be changed.
pub(super) fn writes(bed: &Bed, users: &[User]) -> usize {
    let of = |user| {
        let asked = asked(&bed.plane, user).into_iter();
        let changing = ["create", "update", "patch", "delete", "deletecollection"];
        asked
            .filter(|it| changing.contains(&it.verb.as_str()) && !it.uri.contains("dryRun=All"))
            .count()
    };
    users.iter().map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_printed_roles_alone_it_tows_and_looks() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespaces = [
        bed.namespace(&admin, "wide").await,
        bed.namespace(&admin, "narrow").await,
    ];
    let users = [bed.plane.new_user(), bed.plane.new_user()];
    let [wide, narrow] = &namespaces;
    let site = Site::start("real", &[("wide", wide), ("narrow", narrow)]).await;
    site.commit("first");
    for (index, (environment, more)) in [("wide", &[][..]), ("narrow", &["--namespaced"])]
        .into_iter()
        .enumerate()
    {
        let kubeconfig = bed.plane.kubeconfig("plane", &users[index]).unwrap();
        std::fs::write(site.path(&format!("{environment}.kubeconfig")), kubeconfig).unwrap();
        let arguments = [&["rbac", environment, "--user", &users[index].name], more].concat();
        for document in site.run(&arguments, 0).split("---\n") {
            let object: Value = serde_yaml::from_str(document).unwrap();
            apply(&admin, &object).await.unwrap();
        }
    }
    site.run(&["run", "--once", "--wait", "60s"], 0);

    site.commit("second");
    let before = writes(bed, &users);
    assert!(before > 0, "it applied nothing");
    for (environment, namespace, expected) in [("wide", wide, WIDE), ("narrow", narrow, NARROW)] {
        let shown = site.run(&["diff", "shop", environment, "--exit-code"], 5);
        let shown = shown
            .replace(namespace, "NS")
            .replace(site.image("shop"), "IMAGE");
        assert_eq!(shown, expected, "{shown}");
    }
    site.run(&["status"], 0);
    site.run(&["inventory"], 0);
    assert_eq!(writes(bed, &users), before, "it changed something");

    site.run(&["run", "--once", "--wait", "60s"], 0);
    for (environment, expected) in [("wide", "5 unchanged\n"), ("narrow", "2 unchanged\n")] {
        let shown = site.run(&["diff", "shop", environment, "--exit-code"], 0);
        assert_eq!(shown, expected);
    }
    let inventory: Value =
        serde_json::from_str(&site.run(&["inventory", "-o", "json"], 0)).unwrap();
    let members = inventory.as_array().unwrap();
    assert_eq!(members.len(), 7, "{inventory:#}");
    for member in members {
        assert_eq!(
            (&member["health"], &member["state"]),
            (&"current".into(), &"managed".into()),
            "{member}"
        );
    }
}
