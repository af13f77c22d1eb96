// Package check holds what is shipped under deploy/ to what will read it: the chart to Helm's engine and to the API
// server's own validation, compose.yaml to Compose's loader, the Dockerfile to BuildKit's front end. It has tests only;
// `make deploy-check` runs them.
package check
