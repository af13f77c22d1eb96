{{/* Names and labels, and what the consumer and the migration share. */}}

{{- define "storage-consumer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters: Kubernetes adds a number or a hash to it, and a label holds 63. */}}
{{- define "storage-consumer.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "storage-consumer.selector" -}}
app.kubernetes.io/name: {{ include "storage-consumer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: consumer
{{- end }}

{{- define "storage-consumer.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "storage-consumer.labels" -}}
{{ include "storage-consumer.selector" . }}
{{ include "storage-consumer.commonLabels" . }}
{{- end }}

{{- define "storage-consumer.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "storage-consumer.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "storage-consumer.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Variables of both commands. Called with (dict "root" $ "user" name). */}}
{{- define "storage-consumer.env" -}}
- {name: POSTGRES_HOST, value: {{ .root.Values.postgres.host | quote }}}
- {name: POSTGRES_PORT, value: {{ .root.Values.postgres.port | quote }}}
- {name: POSTGRES_DB, value: {{ .root.Values.postgres.database | quote }}}
- {name: POSTGRES_USER, value: {{ .user | quote }}}
- {name: POSTGRES_PASSWORD_FILE, value: /run/secrets/postgres/password}
- {name: LOG_LEVEL, value: {{ .root.Values.log.level | quote }}}
- {name: LOG_FORMAT, value: {{ .root.Values.log.format | quote }}}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Mounts of both. */}}
{{- define "storage-consumer.mounts" -}}
- {name: postgres-password, mountPath: /run/secrets/postgres, readOnly: true}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Volumes of both. Called with (dict "root" $ "secret" name "key" key). */}}
{{- define "storage-consumer.volumes" -}}
- name: postgres-password
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - {key: {{ .key | quote }}, path: password}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
