package check

// KEDA's ScaledObject, held to the definition that KEDA installs in a cluster. Its types would take all of Kubernetes'
// client along.

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/kedacore/keda/v2/version" // the definition lies in this module
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// scaledObject is the part of it that tests look at.
type scaledObject struct {
	Spec struct {
		ScaleTargetRef struct{ Kind, Name string }
	}
}

func readScaledObject(t *testing.T, manifest string) (*scaledObject, error) {
	t.Helper()
	var document any
	if err := yaml.Unmarshal([]byte(manifest), &document); err != nil {
		return nil, err
	}
	if err := scaledObjectSchema(t).Validate(document); err != nil {
		return nil, err
	}
	var object scaledObject
	return &object, yaml.Unmarshal([]byte(manifest), &object)
}

// scaledObjectSchema is the definition's, with fields that it does not have forbidden, as the API server does when asked to
// be strict.
func scaledObjectSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "config/crd/bases/keda.sh_scaledobjects.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(bytes, &definition); err != nil || len(definition.Spec.Versions) != 1 {
		t.Fatalf("the definition is not read as it should be: %v", err)
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	forbidOthers(schema)
	// The server's own business, of which the definition says nothing.
	schema["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
	compiler := jsonschema.NewCompiler()
	text, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("scaledobject.json", document); err != nil {
		t.Fatal(err)
	}
	return compiler.MustCompile("scaledobject.json")
}

func forbidOthers(schema map[string]any) {
	for _, inner := range schema {
		if inner, is := inner.(map[string]any); is {
			forbidOthers(inner)
		}
	}
	_, fields := schema["properties"].(map[string]any)
	_, open := schema["additionalProperties"]
	if fields && schema["type"] == "object" && !open {
		schema["additionalProperties"] = false
	}
}

func TestTheDefinitionOfKedaFindsAMistake(t *testing.T) {
	result, err := render(examples(t)["full"], "metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, manifest := range result.manifests {
		if !strings.Contains(manifest, "kind: ScaledObject") {
			continue
		}
		for right, wrong := range map[string]string{
			"maxReplicaCount: 12": "maxReplicas: 12",
			"pollingInterval: 15": "pollingInterval: often",
			"- type: kafka":       "- name: kafka",
		} {
			mistaken := strings.Replace(manifest, right, wrong, 1)
			if _, err := readScaledObject(t, mistaken); mistaken == manifest || err == nil {
				t.Errorf("%s is taken", wrong)
			}
		}
		return
	}
	t.Error("no ScaledObject")
}
