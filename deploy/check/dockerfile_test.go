package check

// The Dockerfile, read by BuildKit's front end, with the checks of `docker build --check`.

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// noRegistry says of each image on which others stand that it is there, and nothing of it.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{
		Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		Config:   ocispecs.ImageConfig{Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}},
		RootFS:   ocispecs.RootFS{Type: "layers"},
	})
	return ref, digest.FromBytes(config), config, err
}

func convert(t *testing.T, target string) *dockerspec.DockerOCIImage {
	t.Helper()
	options := dockerfile2llb.ConvertOpt{
		MetaResolver:   noRegistry{},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
	}
	options.Target = target
	state := llb.Local("context")
	options.MainContext = &state
	result, err := dockerfile2llb.Dockerfile2LLB(context.Background(), []byte(read(t, "deploy/Dockerfile")), options)
	if err != nil {
		t.Fatal(err)
	}
	return result.Image
}

// complaints are what `docker build --check` says.
func complaints(t *testing.T, source string) *lint.LintResults {
	t.Helper()
	sourceMap := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", []byte(source))
	sourceMap.Definition = &llb.Definition{}
	options := dockerfile2llb.ConvertOpt{MetaResolver: noRegistry{}, SourceMap: sourceMap}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), []byte(source), options)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestBuildKitHasNothingToComplainOf(t *testing.T) {
	results := complaints(t, read(t, "deploy/Dockerfile"))
	if results.Error != nil {
		t.Errorf("%+v", results.Error)
	}
	for _, warning := range results.Warnings {
		t.Errorf("%s: %s (%v)", warning.RuleName, warning.Detail, warning.Location)
	}
}

func TestBuildKitFindsAMistake(t *testing.T) {
	results := complaints(t, "from debian:bookworm-slim AS a\nENTRYPOINT storage-consumer\nENV PASSWORD=x\n")
	if len(results.Warnings) < 3 {
		t.Errorf("%+v", results.Warnings)
	}
}

func TestTheImagesRunAsANumberAndSayHowTheyAre(t *testing.T) {
	number := regexp.MustCompile(`^[1-9]\d+:[1-9]\d+$`)
	for target, program := range map[string]string{"": "storage-consumer", "workbench": "event-generator"} {
		image := convert(t, target)
		if !number.MatchString(image.Config.User) {
			t.Errorf("%s runs as %q", program, image.Config.User)
		}
		if strings.Join(image.Config.Entrypoint, " ") != program {
			t.Errorf("%q runs %v", target, image.Config.Entrypoint)
		}
		if image.Config.StopSignal != "SIGTERM" {
			t.Errorf("%s is stopped by %q", program, image.Config.StopSignal)
		}
		for _, label := range []string{"title", "description", "licenses", "source", "version"} {
			if image.Config.Labels["org.opencontainers.image."+label] == "" {
				t.Errorf("%s has no label %s", program, label)
			}
		}
	}
	consumer := convert(t, "")
	if check := consumer.Config.Healthcheck; check == nil || strings.Join(check.Test, " ") != "CMD storage-consumer healthcheck" {
		t.Errorf("the consumer's health is not asked of itself: %v", check)
	}
	known := knownSettings(t)
	for _, variable := range consumer.Config.Env {
		if name, _, _ := strings.Cut(variable, "="); name != "PATH" {
			known.expectVariable(t, "Dockerfile", name)
		}
	}
}

func TestTheVersionIsTheSameEverywhere(t *testing.T) {
	version := regexp.MustCompile(`(?m)^version = "(.*)"$`).FindStringSubmatch(read(t, "Cargo.toml"))[1]
	if label := convert(t, "").Config.Labels["org.opencontainers.image.version"]; label != version {
		t.Errorf("the image says %s, the program is %s", label, version)
	}
	if chart := read(t, "deploy/helm/storage-consumer/Chart.yaml"); !strings.Contains(chart, `appVersion: "`+version+`"`) {
		t.Errorf("the chart is for another program than %s", version)
	}
}
