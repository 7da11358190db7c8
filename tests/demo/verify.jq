# Compares the demo's summary with what `verify.sh` read from the repositories.

def lines: split("\n") | map(select(. != ""));
def text($kind): $ARGS.named[$kind];

def documents_of($kind): text($kind) | lines | map(fromjson);

def refs: [split("\u001e\n")[] | select(. != "") | split("\u001f")
    | { name: .[0], id: .[1], tagged: .[2], message: .[3] }];

# Where the repository of an environment is served from.
def served:
    if .environment == "production" and ($summary[0] | has("requests")) then "github/acme" else "git" end;

# What was read of an infra repository.
def repository($environment):
    [text("\($environment)_named") | lines[]
        | capture("^(?<commit>[0-9a-f]*):[^:]*: *image: (?<image>[^ ]*)")] as $named
    | {
        environment: $environment,
        refs: (text("\($environment)_refs") | refs),
        records: [text("\($environment)_records") | lines[]
            | capture("^[^:]*:(?<note>[^:]*):(?<record>.*)$")
            | { note: (.note | gsub("/"; "")), record: (.record | fromjson) }],
        states: (text("\($environment)_states") | lines),
        commits: [text("\($environment)_history") | lines[] as $commit
            | { commit: $commit, image: (first($named[] | select(.commit == $commit) | .image) // null) }],
    };

def infra: ["staging", "qa", "production"] | map(repository(.));
def source: text("application_refs") | refs;
def traces: text("traces") | lines;
def names: map({ key: .name, value: .id }) | from_entries;

# Every image that was pushed: the digest of its manifest and the commit that its configuration names;
# no digest where a blob is not what its name says.
def images:
    [text("blobs") | lines[] | capture("^(?<hash>[0-9a-f]+) +[^/]*/(?<layout>[^/]+)/blobs/sha256/(?<name>.*)$")] as $blobs
    | (text("skopeo") | lines | map(split(" ") | { key: .[0], value: .[1] }) | from_entries) as $skopeo
    | [documents_of("layouts")[] | .layout as $layout | .digest as $digest
        | def document($digest): first(documents_of("documents")[]
            | select(.path == "./\($layout)/blobs/\($digest | sub(":"; "/"))") | .document) // null;
        document($digest) as $manifest
        | {
            release: $layout,
            digest: (if all($blobs[] | select(.layout == $layout); .hash == .name)
                    and $manifest != null and ($skopeo[$layout] // $digest) == $digest
                then $digest else null end),
            commit: document($manifest.config.digest // "").config.Labels["org.opencontainers.image.revision"],
        }];

# Milliseconds since 1970 of an RFC 3339 time.
def ms: (.[0:19] + "Z" | fromdateiso8601) * 1000
    + ((capture("\\.(?<digits>[0-9]{1,3})") | ("0." + .digits | tonumber) * 1000) // 0);

def digest: .release.images | to_entries[0].value;
def of_kind($kind): [.records[].record | select(.record == $kind)];

# A deployment as its record, its verdict, its commit and its tag tell it.
def deployment($repository):
    . as $record
    | (first($repository | of_kind("verdict")[] | select(.number == $record.number)) // null) as $verdict
    | (first($repository.refs[]
        | select((.name | test("^refs/tags/deployment-0*\($record.number)$")) and .tagged == $record.commit))
        // null) as $tag
    | {
        number, commit, release: .release.name, digest: digest, cause,
        verdict: $verdict.verdict, reason: $verdict.reason, judged: $verdict.at,
        image: (first($repository.commits[] | select(.commit == $record.commit) | .image) // null),
        tag: ($tag | if . then .name | ltrimstr("refs/tags/") else null end),
        message: ($tag | if . then .message | split("\n")[0] else null end),
    };

def environment:
    . as $repository
    | {
        environment,
        repository: "\(served)/pipeline-application-infra-\(.environment).git",
        head: (.refs | names["refs/heads/master"]),
        image: .commits[0].image,
        refs: (.refs | names),
        deployments: [of_kind("deployment") | sort_by(.number)[] | deployment($repository)],
        proposals: [of_kind("proposed") | sort_by(.at)[]
            | { release: .release.name, digest: digest, commit: .proposal, at }],
    };

# The summary as the repositories tell it. What it says of time alone (`ms`) they do not know.
def found:
    [infra[] | environment] as $environments
    | {
        environments: $environments,
        source: { repository: "git/pipeline-application.git", refs: (source | names) },
        releases: [$summary[0].releases[] | . as $told
            | (first(images[] | select(.release == $told.release)) // null) as $image
            | {
                release, digest: $image.digest,
                ref,
                commit: (first(source[] | select(.name == $told.ref)
                    | if .tagged == "" then .id else .tagged end) // null),
                environments: [$environments[] | .environment as $environment | .deployments[]
                    | select(.digest == $image.digest)
                    | { environment: $environment, number, commit, digest, verdict }],
            }],
    };

def told: $summary[0]
    | { environments, source, releases }
    | del(.releases[].environments[].ms);

# Every leaf with its path.
def leaves: [paths(scalars) as $path | { key: ($path | map(tostring) | join(".")), value: getpath($path) }]
    | from_entries;

# What must hold whatever the summary says.
def law($law; holds): { law: $law, holds: ([holds] == [true]) };

def laws_of_environment:
    . as $repository
    | environment as $found
    | .environment as $name
    | [.commits[].commit] as $commits
    | ($found.deployments | map(.number)) as $numbers
    | law("\($name): deployment numbers \($numbers) have gaps or doubles";
        $numbers == [range(1; ($numbers | length) + 1)]),
      law("\($name): there are other branches than master";
        [.refs[].name | select(startswith("refs/heads/"))] == ["refs/heads/master"]),
      law("\($name): a deployment is not on the branch";
        all($found.deployments[].commit; . as $commit | $commits | index($commit) != null)),
      law("\($name): the head does not run the last deployment";
        $found.deployments[-1] as $last
        | $found.head == $last.commit and ($found.image | endswith($last.digest))),
      law("\($name): a deployment's commit does not name its digest";
        all($found.deployments[]; . as $one | .cause == "baseline" or ((.image // "") | endswith($one.digest)))),
      law("\($name): a record stands in another commit's note";
        all(.records[]; .note == .record.commit)),
      law("\($name): a record is another environment's";
        all(.records[]; .record.environment == $name)),
      law("\($name): a deployment has no verdict, or several";
        all($found.deployments[].number; . as $number
            | [$repository | of_kind("verdict")[] | select(.number == $number)] | length == 1)),
      law("\($name): tags and deployments do not match";
        ([.refs[].name | select(startswith("refs/tags/")) | ltrimstr("refs/tags/")] | sort)
            == ([$found.deployments[].tag] | sort)),
      law("\($name): a tag was made from records that are not there";
        all(.refs[] | select(.name | startswith("refs/tags/")) | .message;
            (capture("Towpath-Records: (?<state>[0-9a-f]+)").state // "none") as $state
            | $repository.states | index($state) != null)),
      law("\($name): a tag's message does not say its deployment's verdict";
        all($found.deployments[];
            .message == (if .verdict == "failed" then "Failed Deployment" else "Successfully Deployed" end)));

def laws:
    (infra[] | laws_of_environment),
    law("production: the failed release left traces: \(traces)"; traces == []),
    law("an image was built from another commit than its branch or tag points to";
        all(found.releases[]; . as $release
            | any(images[]; .release == $release.release and .commit == $release.commit))),
    law("production: a proposal came before its release was healthy in qa for the soak";
        all(infra[2] | of_kind("proposed")[]; . as $proposed
            | any(infra[1] | of_kind("verdict")[];
                .verdict == "healthy" and digest == ($proposed | digest)
                and (.at | ms) + $summary[0].soak_ms <= ($proposed.at | ms) + 1)));

(found | leaves) as $found
| (told | leaves) as $told
| ([$found, $told | keys[]] | unique) as $keys
| [laws] as $laws
| ($keys[] | select($found[.] != $told[.])
    | "\(.): the summary says \($told[.] | tojson), the repositories say \($found[.] | tojson)"),
  ($laws[] | select(.holds | not) | .law),
  (if $summary[0].ok then empty else "the summary itself is not ok: \($summary[0].wrong)" end),
  "\(($keys | length) + ($laws | length)) facts, all as the summary says"
