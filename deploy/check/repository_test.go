package check

// What the tests share: the repository's files, and the names of settings that the program knows.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	bytes, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes)
}

// settings are the options and variables that docs/configuration.md lists; that page is made from the program's own table.
type settings map[string]bool

func knownSettings(t *testing.T) settings {
	t.Helper()
	found := settings{}
	row := regexp.MustCompile("(?m)^\\| `(--[a-z-]+)[^|]*`? \\|(?: `([A-Z_]+)`)? *\\|")
	page := strings.ReplaceAll(read(t, "docs/configuration.md"), `\|`, "/")
	for _, match := range row.FindAllStringSubmatch(page, -1) {
		found[match[1]] = true
		if match[2] != "" {
			found[match[2]] = true
		}
	}
	for _, needed := range []string{"--no-migrate", "--unknown-types", "POSTGRES_PASSWORD_FILE", "KAFKA_BOOTSTRAP_SERVERS"} {
		if !found[needed] {
			t.Fatalf("docs/configuration.md is not read as it should be: no %s among %v", needed, found)
		}
	}
	return found
}

// expectArguments tells options that the program does not know.
func (known settings) expectArguments(t *testing.T, where string, arguments []string) {
	t.Helper()
	for _, argument := range arguments {
		option, _, _ := strings.Cut(argument, "=")
		if strings.HasPrefix(option, "--") && !known[option] {
			t.Errorf("%s: the program has no option %s", where, option)
		}
	}
}

// expectVariable tells a variable that the program does not read.
func (known settings) expectVariable(t *testing.T, where, name string) {
	t.Helper()
	if !known[name] {
		t.Errorf("%s: the program reads no variable %s", where, name)
	}
}
