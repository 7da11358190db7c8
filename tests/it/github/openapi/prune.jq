# Takes the operations named in $operations out of GitHub's OpenAPI description, in a form of its own:
# { operations: { "GET /path": { query, body, answers } }, components: { schemas } }.
# What only people read is left out; `nullable` of OpenAPI 3.0 becomes what JSON Schema 2020-12 says.

. as $all
| def pointed: ltrimstr("#/") | split("/") as $path | $all | getpath($path);
def resolved: if type == "object" and has("$ref") then .["$ref"] | pointed | resolved else . end;

def schema:
  if type != "object" then .
  else
    with_entries(select(.key | test("^(description|example|examples|externalDocs|deprecated|default|title|readOnly|discriminator|x-.*)$") | not))
    | if has("properties") then .properties |= map_values(schema) else . end
    | if has("items") then .items |= schema else . end
    | if (.additionalProperties | type) == "object" then .additionalProperties |= schema else . end
    | reduce ("allOf", "anyOf", "oneOf") as $of (.; if has($of) then .[$of] |= map(schema) else . end)
    # Alternatives of GitHub's overlap: of its errors every one fits more than one.
    | if has("oneOf") then .anyOf = .oneOf | del(.oneOf) else . end
    | if .nullable != true then del(.nullable)
      else
        del(.nullable)
        | if (.type | type) == "string" then .type = [.type, "null"] | if has("enum") then .enum += [null] else . end
          else { anyOf: [., { type: "null" }] } end
      end
  end;

def content: resolved | .content["application/json"].schema | if . == null then null else schema end;

def references: [.. | objects | .["$ref"]? | strings];

def operation($path):
  {
    query: ((.parameters // []) | map(resolved | select(.in == "query")) | map({ key: .name, value: (.schema | schema) }) | from_entries),
    body: (if has("requestBody") then .requestBody | content else null end),
    answers: (.responses | map_values(content))
  };

def named: ltrimstr("#/components/schemas/");

def reachable($from):
  { seen: {}, open: $from }
  | until(.open == [];
      .open[0] as $name
      | .open |= .[1:]
      | if .seen[$name] then .
        else
          ($all.components.schemas[$name] | schema) as $found
          | .seen[$name] = $found
          | .open += ($found | references | map(named))
        end)
  | .seen | to_entries | sort_by(.key) | from_entries;

($operations | split("\n") | map(select(length > 0) | split(" ")))
| map(.[0] as $method | .[1] as $path
    | ($all.paths[$path][$method | ascii_downcase] // error("there is no \($method) \($path)")) as $found
    | { key: "\($method) \($path)", value: ($found | operation($path)) })
| from_entries
| { operations: ., components: { schemas: reachable([references[] | named] | unique) } }
