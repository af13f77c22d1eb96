package check

// The chart: linted and rendered by Helm's own engine.

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
)

var chartFolder = filepath.Join(root, "deploy/helm/storage-consumer")

// rendered is what `helm template` prints, and what `helm install` says at the end.
type rendered struct {
	manifests []string
	notes     string
}

func render(values chartutil.Values, release string) (rendered, error) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		return rendered{}, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: "metrics", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, values, options, chartutil.DefaultCapabilities.Copy())
	if err != nil {
		return rendered{}, err
	}
	texts, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return rendered{}, err
	}
	var result rendered
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasSuffix(name, "NOTES.txt") {
			result.notes = texts[name]
			continue
		}
		parts := releaseutil.SplitManifests(texts[name])
		for _, part := range slices.Sorted(maps.Keys(parts)) {
			result.manifests = append(result.manifests, parts[part])
		}
	}
	return result, nil
}

// examples are the values files under ci/, by name.
func examples(t *testing.T) map[string]chartutil.Values {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartFolder, "ci", "*-values.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("no values files: %v %v", files, err)
	}
	found := map[string]chartutil.Values{}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = values
	}
	return found
}

func TestTheChartHasNothingThatHelmLintComplainsOf(t *testing.T) {
	for name, values := range examples(t) {
		linter := lint.AllWithKubeVersion(chartFolder, values, "metrics", nil)
		for _, message := range linter.Messages {
			// As `helm lint --strict` does; an icon is for shops.
			if message.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, message)
			}
		}
	}
}

func TestEachValueHasADefaultAndAPlaceInTheSchema(t *testing.T) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := chartutil.ReadValues(chart.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var compare func(path string, schema, values map[string]any)
	compare = func(path string, schema, values map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, value := range values {
			property, known := properties[name].(map[string]any)
			if !known {
				t.Errorf("values.yaml has %s%s, the schema has not", path, name)
			} else if inner, is := value.(map[string]any); is && property["properties"] != nil {
				compare(path+name+".", property, inner)
			}
		}
		for name := range properties {
			if _, known := values[name]; !known && path+name != "global" {
				t.Errorf("the schema has %s%s, values.yaml has not", path, name)
			}
		}
	}
	compare("", schema, chart.Values)
}

// With the least that must be said, and one mistake.
func TestMistakesInValuesAreRefusedByName(t *testing.T) {
	for mistake, told := range map[string]string{
		`replica: 3`:                   "replica",
		`replicas: many`:               "replicas",
		`workers: 0`:                   "workers",
		`workers: 3`:                   "staticMembership",
		`kafka: {servers: kafka}`:      "servers",
		`kafka: {servers: ""}`:         "servers",
		`kafka: {topic: a b}`:          "topic",
		`kafka: {offsetReset: newest}`: "offsetReset",
		`kafka: {properties: {sasl.password: hunter2}}`: "invalid propertyName 'sasl.password'",
		`kafka: {properties: {ssl.key.pem: secret}}`:    "invalid propertyName 'ssl.key.pem'",
		`postgres: {existingSecret: ""}`:                "existingSecret",
		`postgres: {password: hunter2}`:                 "password",
		`postgres: {port: 70000}`:                       "port",
		`batch: {maxBytes: large}`:                      "maxBytes",
		`unknownTypes: drop`:                            "unknownTypes",
		`log: {level: LOUD}`:                            "level",
		`image: {digest: latest}`:                       "digest",
		`migrate: {user: owner}`:                        "existingSecret",
		`autoscaling: {maxReplicas: 0}`:                 "maxReplicas",
		`podDisruptionBudget: {maxUnavailable: half}`:   "maxUnavailable",
		`networkPolicy: {kafkaPorts: []}`:               "kafkaPorts",
	} {
		values, err := chartutil.ReadValues([]byte(mistake))
		if err != nil {
			t.Fatal(err)
		}
		values = chartutil.CoalesceTables(values, examples(t)["minimal"])
		if _, err := render(values, "metrics"); err == nil || !strings.Contains(err.Error(), told) {
			t.Errorf("%s must be refused with a word of %s, not: %v", mistake, told, err)
		}
	}
	if _, err := render(chartutil.Values{}, "metrics"); err == nil {
		t.Error("servers and database must be named")
	}
}

func TestTheNotesNameWhatWasInstalled(t *testing.T) {
	for name, values := range examples(t) {
		result, err := render(values, "metrics")
		if err != nil {
			t.Fatal(name, err)
		}
		consumer := decode(t, name, result.manifests).consumer
		if !strings.Contains(result.notes, "statefulset/"+consumer.Name) ||
			!strings.Contains(result.notes, fmt.Sprintf("port-forward %s-0 ", consumer.Name)) {
			t.Errorf("%s: %s", name, result.notes)
		}
	}
}

func TestNamesStayShortEnoughForKubernetes(t *testing.T) {
	for _, release := range []string{"a", strings.Repeat("long-", 10) + "x"} {
		result, err := render(examples(t)["full"], release)
		if err != nil {
			t.Fatal(err)
		}
		decode(t, release, result.manifests)
	}
}

func TestNothingOfTheChartIsLeftOut(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(chartFolder, "templates"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := render(examples(t)["full"], "metrics")
	if err != nil {
		t.Fatal(err)
	}
	// All but the helpers and the notes make one object each where all is switched on.
	if want := len(entries) - 2; len(result.manifests) != want {
		t.Errorf("%d objects of %d templates", len(result.manifests), want)
	}
}
