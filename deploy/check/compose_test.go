package check

// compose.yaml, read as `docker compose` reads it.

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func project(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{root + "/compose.yaml"}, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeTakesTheFileAndEachServiceIsThere(t *testing.T) {
	project := project(t)
	names := slices.Sorted(slices.Values(project.ServiceNames()))
	wanted := []string{"consumer", "generator", "grafana", "kafka", "migrate", "postgres", "prometheus", "topic"}
	if !slices.Equal(names, wanted) {
		t.Errorf("%v", names)
	}
}

func TestImagesArePinnedAndFilesAreThere(t *testing.T) {
	project := project(t)
	pinned := regexp.MustCompile(`:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$`)
	for name, service := range project.Services {
		if service.Build == nil && !pinned.MatchString(service.Image) {
			t.Errorf("%s: %s may be another one tomorrow", name, service.Image)
		}
		if build := service.Build; build != nil {
			if _, err := os.Stat(build.Context + "/" + build.Dockerfile); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if !volume.ReadOnly {
					t.Errorf("%s may write to %s", name, volume.Source)
				}
			}
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network", name, port.Published)
			}
		}
	}
	for name, secret := range project.Secrets {
		if _, err := os.Stat(secret.File); err != nil {
			t.Errorf("secret %s: %v", name, err)
		}
	}
}

// Each waits for what it needs, and what is waited for says when it is there.
func TestTheStartHasAnOrder(t *testing.T) {
	project := project(t)
	for name, needs := range map[string]map[string]string{
		"topic":      {"kafka": types.ServiceConditionHealthy},
		"migrate":    {"postgres": types.ServiceConditionHealthy},
		"consumer":   {"topic": types.ServiceConditionCompletedSuccessfully, "migrate": types.ServiceConditionCompletedSuccessfully},
		"generator":  {"topic": types.ServiceConditionCompletedSuccessfully},
		"prometheus": {},
		"grafana":    {"prometheus": types.ServiceConditionHealthy},
	} {
		service := project.Services[name]
		if len(service.DependsOn) != len(needs) {
			t.Errorf("%s waits for %v", name, service.DependsOn)
		}
		for other, condition := range needs {
			if service.DependsOn[other].Condition != condition {
				t.Errorf("%s must wait until %s is %s", name, other, condition)
			}
		}
	}
	for name, service := range project.Services {
		for other, need := range service.DependsOn {
			// The consumer's is in its image.
			if need.Condition == types.ServiceConditionHealthy && project.Services[other].HealthCheck == nil {
				t.Errorf("%s waits for the health of %s, which tells none", name, other)
			}
		}
	}
}

func TestOurOwnContainersMayDoNextToNothing(t *testing.T) {
	project := project(t)
	for _, name := range []string{"consumer", "migrate", "generator"} {
		service := project.Services[name]
		if !service.ReadOnly || !slices.Contains(service.CapDrop, "ALL") || !slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not hardened", name)
		}
		if service.MemLimit == 0 && (service.Deploy == nil || service.Deploy.Resources.Limits == nil) {
			t.Errorf("%s has no bound of memory", name)
		}
	}
	if grace := project.Services["consumer"].StopGracePeriod; grace == nil || time.Duration(*grace) < 36*time.Second {
		t.Errorf("the consumer is killed after %v", grace)
	}
}

func TestSecretsAreFilesAndVariablesAreKnown(t *testing.T) {
	project := project(t)
	known := knownSettings(t)
	for name, service := range project.Services {
		for variable, value := range service.Environment {
			secret := strings.Contains(variable, "PASSWORD") && !strings.HasSuffix(variable, "_FILE") && !strings.HasSuffix(variable, "__FILE")
			if secret && value != nil {
				t.Errorf("%s: %s can be read by everybody who may ask Docker", name, variable)
			}
		}
	}
	for _, name := range []string{"consumer", "migrate"} {
		service := project.Services[name]
		known.expectArguments(t, name, service.Command)
		for variable := range service.Environment {
			known.expectVariable(t, name, variable)
		}
	}
}
