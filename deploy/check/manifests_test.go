package check

// What the chart renders to: read strictly and judged by the code of the API server itself, by KEDA's definition of its
// resource, and as the Prometheus operator reads it; then the promises of values.yaml.

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	batchvalidation "k8s.io/kubernetes/pkg/apis/batch/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	podsecurity "k8s.io/pod-security-admission/api"
	podsecuritypolicy "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// objects are what was rendered, by kind; nil where it is not there.
type objects struct {
	consumer       *appsv1.StatefulSet
	migrate        *batchv1.Job
	service        *corev1.Service
	serviceAccount *corev1.ServiceAccount
	budget         *policyv1.PodDisruptionBudget
	network        *networkingv1.NetworkPolicy
	scaled         *scaledObject
	monitor        *monitoringv1.PodMonitor
}

// decode reads all documents; what the API server would refuse fails the test.
func decode(t *testing.T, where string, manifests []string) objects {
	t.Helper()
	var found objects
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict)
	for _, manifest := range manifests {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(manifest), &meta); err != nil {
			t.Fatalf("%s: %v\n%s", where, err, manifest)
		}
		var err error
		switch meta.APIVersion + " " + meta.Kind {
		case "keda.sh/v1alpha1 ScaledObject":
			found.scaled, err = readScaledObject(t, manifest)
		case "monitoring.coreos.com/v1 PodMonitor":
			found.monitor = &monitoringv1.PodMonitor{}
			err = yaml.UnmarshalStrict([]byte(manifest), found.monitor)
		default:
			var object runtime.Object
			object, _, err = strict.UniversalDeserializer().Decode([]byte(manifest), nil, nil)
			if err == nil {
				found.keep(t, object)
				validate(t, where, object)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", where, err, manifest)
		}
	}
	if found.consumer == nil || found.service == nil {
		t.Fatalf("%s: no consumer or no service", where)
	}
	return found
}

func (found *objects) keep(t *testing.T, object runtime.Object) {
	t.Helper()
	switch object := object.(type) {
	case *appsv1.StatefulSet:
		found.consumer = object
	case *batchv1.Job:
		found.migrate = object
	case *corev1.Service:
		found.service = object
	case *corev1.ServiceAccount:
		found.serviceAccount = object
	case *policyv1.PodDisruptionBudget:
		found.budget = object
	case *networkingv1.NetworkPolicy:
		found.network = object
	default:
		t.Fatalf("nobody looks at %T", object)
	}
}

// validate does what the API server does with an object that is created: defaults, its internal form, validation.
func validate(t *testing.T, where string, object runtime.Object) {
	t.Helper()
	object = object.DeepCopyObject()
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		t.Fatal(err)
	}
	var mistakes field.ErrorList
	switch internal := internal.(type) {
	case *apps.StatefulSet:
		mistakes = appsvalidation.ValidateStatefulSet(internal, appsvalidation.StatefulSetValidationOptions{}, corevalidation.PodValidationOptions{})
	case *batch.Job:
		// The server makes the selector itself, of an identity that is not known here.
		internal.Spec.ManualSelector = &[]bool{true}[0]
		internal.Spec.Selector = &metav1.LabelSelector{MatchLabels: internal.Spec.Template.Labels}
		mistakes = batchvalidation.ValidateJobCreate(internal, batchvalidation.JobValidationOptions{})
	case *core.Service:
		// The server fills in the one from the other.
		internal.Spec.ClusterIPs = []string{internal.Spec.ClusterIP}
		mistakes = corevalidation.ValidateServiceCreate(internal)
	case *core.ServiceAccount:
		mistakes = corevalidation.ValidateServiceAccount(internal)
	case *policy.PodDisruptionBudget:
		mistakes = policyvalidation.ValidatePodDisruptionBudget(internal, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *networking.NetworkPolicy:
		mistakes = networkingvalidation.ValidateNetworkPolicy(internal, networkingvalidation.NetworkPolicyValidationOptions{})
	default:
		t.Fatalf("nobody validates %T", internal)
	}
	for _, mistake := range mistakes {
		t.Errorf("%s: %T: %v", where, object, mistake)
	}
}

// eachExample renders the values files one after the other.
func eachExample(t *testing.T, look func(t *testing.T, found objects)) {
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) {
			result, err := render(values, "metrics")
			if err != nil {
				t.Fatal(err)
			}
			look(t, decode(t, name, result.manifests))
		})
	}
}

// pods are the pods' templates, by what they do.
func (found *objects) pods() map[string]corev1.PodTemplateSpec {
	pods := map[string]corev1.PodTemplateSpec{"consume": found.consumer.Spec.Template}
	if found.migrate != nil {
		pods["migrate"] = found.migrate.Spec.Template
	}
	return pods
}

func TestTheApiServerTakesWhatIsRendered(t *testing.T) {
	eachExample(t, func(t *testing.T, _ objects) {})
}

func TestTheValidationFindsAMistake(t *testing.T) {
	result, err := render(examples(t)["minimal"], "metrics")
	if err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	found := 0
	for _, manifest := range result.manifests {
		wrong := bytes.ReplaceAll([]byte(manifest), []byte("readOnlyRootFilesystem"), []byte("readonlyRootFilesystem"))
		if _, _, err := strict.Decode(wrong, nil, nil); err != nil {
			found++
		}
	}
	if found != 2 {
		t.Errorf("a misspelt field was found in %d of 2 pods", found)
	}
}

func TestThePodsMeetTheRestrictedStandardAndHaveNoToken(t *testing.T) {
	evaluator, err := podsecuritypolicy.NewEvaluator(podsecuritypolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	eachExample(t, func(t *testing.T, found objects) {
		for name, pod := range found.pods() {
			for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
				t.Errorf("%s: a token is mounted", name)
			}
			container := pod.Spec.Containers[0]
			if security := container.SecurityContext; security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
				t.Errorf("%s: the root file system can be written", name)
			}
			if container.Resources.Limits.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: no bound of memory, or no share of CPU: %v", name, container.Resources)
			}
		}
	})
}

func TestSelectorsFindThePods(t *testing.T) {
	eachExample(t, func(t *testing.T, found objects) {
		expect := func(what string, selector labels.Selector, finds labels.Set, wanted bool) {
			t.Helper()
			if selector.Matches(finds) != wanted {
				t.Errorf("%s: %v finds %v: %v", what, selector, finds, !wanted)
			}
		}
		of := func(selector *metav1.LabelSelector) labels.Selector {
			t.Helper()
			made, err := metav1.LabelSelectorAsSelector(selector)
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		consumers := labels.Set(found.consumer.Spec.Template.Labels)
		selectors := map[string]labels.Selector{
			"service":     labels.SelectorFromSet(found.service.Spec.Selector),
			"statefulset": of(found.consumer.Spec.Selector),
		}
		if found.budget != nil {
			selectors["budget"] = of(found.budget.Spec.Selector)
		}
		if found.monitor != nil {
			selectors["monitor"] = of(&found.monitor.Spec.Selector)
		}
		for what, selector := range selectors {
			expect(what, selector, consumers, true)
			if found.migrate != nil {
				expect(what, selector, found.migrate.Spec.Template.Labels, false)
			}
		}
		if found.network != nil {
			for _, pod := range found.pods() {
				expect("network policy", of(&found.network.Spec.PodSelector), pod.Labels, true)
			}
		}
		if found.consumer.Spec.ServiceName != found.service.Name || found.service.Spec.ClusterIP != corev1.ClusterIPNone {
			t.Errorf("the pods get no names of %s", found.service.Name)
		}
		if found.scaled != nil {
			target := found.scaled.Spec.ScaleTargetRef
			if target.Name != found.consumer.Name || target.Kind != found.consumer.Kind || found.consumer.Spec.Replicas != nil {
				t.Errorf("two decide on the pods, or none: %v", target)
			}
		}
	})
}

func TestTheProgramKnowsEachOptionAndVariable(t *testing.T) {
	known := knownSettings(t)
	ours := []string{"POD_NAME", "RUST_BACKTRACE", "KAFKA_CLIENT_KEY_PASSWORD"}
	eachExample(t, func(t *testing.T, found objects) {
		for name, pod := range found.pods() {
			container := pod.Spec.Containers[0]
			if container.Args[0] != name {
				t.Errorf("%s runs %s", name, container.Args[0])
			}
			known.expectArguments(t, name, container.Args)
			for _, variable := range container.Env {
				if !slices.Contains(ours, variable.Name) {
					known.expectVariable(t, name, variable.Name)
				}
			}
		}
	})
}

func TestAStopHasTheTimeThatTheProgramTakes(t *testing.T) {
	eachExample(t, func(t *testing.T, found objects) {
		// 30 s to store, 5 s to leave the group.
		if grace := *found.consumer.Spec.Template.Spec.TerminationGracePeriodSeconds; grace <= 35 {
			t.Errorf("killed after %d s", grace)
		}
	})
}

func TestTheMigrationRunsBeforeAllElseAsTheOwnerAndNeedsNothingOfTheChart(t *testing.T) {
	result, err := render(examples(t)["full"], "metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := decode(t, "full", result.manifests)
	if hook := found.migrate.Annotations["helm.sh/hook"]; hook != "pre-install,pre-upgrade" {
		t.Errorf("it runs %q", hook)
	}
	pod := found.migrate.Spec.Template.Spec
	if pod.ServiceAccountName == found.serviceAccount.Name {
		t.Error("its service account is not there yet when it runs")
	}
	user := func(pod corev1.PodSpec) string {
		for _, variable := range pod.Containers[0].Env {
			if variable.Name == "POSTGRES_USER" {
				return variable.Value
			}
		}
		return ""
	}
	secret := func(pod corev1.PodSpec) string { return pod.Volumes[0].Secret.SecretName }
	consumer := found.consumer.Spec.Template.Spec
	if user(pod) != "metrics_owner" || secret(pod) != "metrics-owner-postgres" {
		t.Errorf("it is %s with %s", user(pod), secret(pod))
	}
	if user(consumer) != "consumer" || secret(consumer) != "storage-consumer-postgres" {
		t.Errorf("the consumer is %s with %s", user(consumer), secret(consumer))
	}
	if !slices.Contains(consumer.Containers[0].Args, "--no-migrate") {
		t.Error("the consumer migrates, too")
	}
}

func TestEachPodHasANameInTheGroupWhereItIsAskedFor(t *testing.T) {
	for name, wanted := range map[string]bool{"minimal": true, "workers": false} {
		result, err := render(examples(t)[name], "metrics")
		if err != nil {
			t.Fatal(err)
		}
		arguments := decode(t, name, result.manifests).consumer.Spec.Template.Spec.Containers[0].Args
		if slices.Contains(arguments, "group.instance.id=$(POD_NAME)") != wanted {
			t.Errorf("%s: %s", name, strings.Join(arguments, " "))
		}
	}
}
