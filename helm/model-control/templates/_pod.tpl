{{/* The program's flags. What values say is quoted: `--engine-listen=::` would be a map. */}}
{{- define "model-control.args" -}}
{{- $v := .Values -}}
- serve
- --config=/etc/model-control/configs/configs.yaml
- {{ printf "--listen=%s" (include "model-control.listen" (dict "ports" $v.ports "port" $v.ports.grpc)) | quote }}
- {{ printf "--health-listen=%s" (include "model-control.listen" (dict "ports" $v.ports "port" $v.ports.health)) | quote }}
{{- if $v.metrics.enabled }}
- {{ printf "--metrics-listen=%s" (include "model-control.listen" (dict "ports" $v.ports "port" $v.ports.metrics)) | quote }}
{{- end }}
- --state-dir=/var/lib/model-control/state
- {{ printf "--log=%s" $v.server.log | quote }}
- {{ printf "--log-format=%s" $v.server.logFormat | quote }}
- --drain-delay={{ include "model-control.drainDelay" . }}s
- --drain-timeout={{ $v.server.drainTimeoutSeconds }}s
{{- if eq $v.auth.mode "token" }}
- --token-file=/etc/model-control/token/tokens.yaml
{{- else if eq $v.auth.mode "none" }}
- --allow-unauthenticated
{{- end }}
{{- if $v.tls.enabled }}
- --tls-cert-file=/etc/model-control/tls/tls.crt
- --tls-key-file=/etc/model-control/tls/tls.key
{{- end }}
{{- if eq $v.auth.mode "mtls" }}
- --tls-client-ca-file=/etc/model-control/client-ca/ca.crt
{{- range $v.auth.mtls.scopes }}
- {{ printf "--tls-client-scopes=%s" . | quote }}
{{- end }}
{{- end }}
{{- if $v.modelFiles.existingClaim }}
- {{ printf "--model-root=%s" $v.modelFiles.mountPath | quote }}
{{- end }}
{{- range $v.server.allowRegistries }}
- {{ printf "--allow-registry=%s" . | quote }}
{{- end }}
{{- if $v.server.registryAuth.existingSecret }}
- --registry-auth-file=/etc/model-control/registry-auth/config.json
{{- end }}
{{- if $v.server.registryCa.existingConfigMap }}
- --registry-ca-file=/etc/model-control/registry-ca/ca.crt
{{- end }}
{{- with $v.embedded.inference }}
{{- if .enabled }}
- {{ printf "--llama-server=%s" .llamaServer | quote }}
- {{ printf "--engine-listen=%s" $v.ports.address | quote }}
- --engine-ports={{ .firstPort }}-{{ sub (add .firstPort .portCount) 1 }}
- {{ printf "--engine-advertise=%s" (include "model-control.host" $) | quote }}
- --engine-key-file=/etc/model-control/engine/keys
{{- with .memoryLimit }}
- {{ printf "--memory-limit=%s" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $v.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "model-control.env" -}}
# Where an entry without --store has its models: /var/lib/model-control/models.
- name: XDG_DATA_HOME
  value: /var/lib
{{- with .Values.otel }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
- name: OTEL_SERVICE_NAME
  value: {{ include "model-control.fullname" $ | quote }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- $attributes := list (printf "k8s.namespace.name=%s" $.Release.Namespace) "k8s.pod.name=$(POD_NAME)" }}
{{- range $key, $value := .resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $key (toString $value)) }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $attributes | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "model-control.mounts" -}}
{{- $v := .Values -}}
# Folders, not files: an update of a file that is mounted alone never arrives.
- name: configs
  mountPath: /etc/model-control/configs
  readOnly: true
- name: data
  mountPath: /var/lib/model-control
- name: tmp
  mountPath: /tmp
{{- if eq $v.auth.mode "token" }}
- name: token
  mountPath: /etc/model-control/token
  readOnly: true
{{- end }}
{{- if $v.tls.enabled }}
- name: tls
  mountPath: /etc/model-control/tls
  readOnly: true
{{- end }}
{{- if eq $v.auth.mode "mtls" }}
- name: client-ca
  mountPath: /etc/model-control/client-ca
  readOnly: true
{{- end }}
{{- if $v.embedded.inference.enabled }}
- name: engine
  mountPath: /etc/model-control/engine
  readOnly: true
{{- end }}
{{- if $v.server.registryAuth.existingSecret }}
- name: registry-auth
  mountPath: /etc/model-control/registry-auth
  readOnly: true
{{- end }}
{{- if $v.server.registryCa.existingConfigMap }}
- name: registry-ca
  mountPath: /etc/model-control/registry-ca
  readOnly: true
{{- end }}
{{- if $v.modelFiles.existingClaim }}
- name: model-files
  mountPath: {{ $v.modelFiles.mountPath | quote }}
  readOnly: true
{{- end }}
{{- with $v.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Secrets are 0440 and the group's: a token file that others can read is refused. */}}
{{- define "model-control.volumes" -}}
{{- $v := .Values -}}
- name: configs
  configMap:
    name: {{ include "model-control.configMapName" . | quote }}
    items:
      - key: configs.yaml
        path: configs.yaml
{{ include "model-control.storage" (dict "name" "data" "claim" (include "model-control.fullname" .) "persistence" $v.persistence) }}
- name: tmp
  emptyDir: {}
{{- if eq $v.auth.mode "token" }}
{{ include "model-control.secret" (dict "name" "token" "secret" (include "model-control.tokenSecretName" .) "key" $v.auth.token.key "path" "tokens.yaml") }}
{{- end }}
{{- if $v.tls.enabled }}
- name: tls
  secret:
    secretName: {{ $v.tls.existingSecret | quote }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- if eq $v.auth.mode "mtls" }}
{{ include "model-control.secret" (dict "name" "client-ca" "secret" ($v.tls.clientCa.existingSecret | default $v.tls.existingSecret) "key" $v.tls.clientCa.key "path" "ca.crt") }}
{{- end }}
{{- if $v.embedded.inference.enabled }}
{{ include "model-control.secret" (dict "name" "engine" "secret" (include "model-control.engineSecretName" .) "key" $v.embedded.inference.key "path" "keys") }}
{{- end }}
{{- with $v.server.registryAuth }}
{{- if .existingSecret }}
{{ include "model-control.secret" (dict "name" "registry-auth" "secret" .existingSecret "key" .key "path" "config.json") }}
{{- end }}
{{- end }}
{{- with $v.server.registryCa }}
{{- if .existingConfigMap }}
- name: registry-ca
  configMap:
    name: {{ .existingConfigMap | quote }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- if $v.modelFiles.existingClaim }}
- name: model-files
  persistentVolumeClaim:
    claimName: {{ $v.modelFiles.existingClaim | quote }}
    readOnly: true
{{- end }}
{{- if eq $v.ollama.mode "sidecar" }}
{{ include "model-control.storage" (dict "name" "ollama" "claim" (printf "%s-ollama" (include "model-control.fullname" .)) "persistence" $v.ollama.sidecar.persistence) }}
- name: ollama-tmp
  emptyDir: {}
{{- end }}
{{- with $v.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A volume of one key: {name, secret, key, path}. */}}
{{- define "model-control.secret" -}}
- name: {{ .name | quote }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0440
    items:
      - key: {{ .key | quote }}
        path: {{ .path }}
{{- end }}

{{/* A claim, or a folder that goes with the pod: {name, claim, persistence}. */}}
{{- define "model-control.storage" -}}
- name: {{ .name | quote }}
  {{- if .persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ .persistence.existingClaim | default .claim | quote }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}

{{/* An init container that stays: it is up before the program, and ends after it. */}}
{{- define "model-control.ollamaContainer" -}}
{{- with .Values.ollama.sidecar -}}
- name: ollama
  image: {{ include "model-control.reference" (dict "image" .image "tag" .image.tag) | quote }}
  imagePullPolicy: {{ .image.pullPolicy }}
  restartPolicy: Always
  env:
    - name: OLLAMA_HOST
      value: {{ include "model-control.listen" (dict "ports" $.Values.ports "port" 11434) | quote }}
    - name: OLLAMA_MODELS
      value: /var/lib/ollama/models
    # At its start it would remove blobs that no manifest names yet: those of a create that goes on.
    - name: OLLAMA_NOPRUNE
      value: "1"
    - name: HOME
      value: /var/lib/ollama
    {{- with .extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: ollama
      containerPort: 11434
  startupProbe:
    httpGet:
      path: /
      port: 11434
    periodSeconds: 2
    failureThreshold: 60
  livenessProbe:
    httpGet:
      path: /
      port: 11434
    periodSeconds: 10
    failureThreshold: 6
    timeoutSeconds: 5
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- toYaml .securityContext | nindent 4 }}
  volumeMounts:
    - name: ollama
      mountPath: /var/lib/ollama
    - name: ollama-tmp
      mountPath: /tmp
{{- end }}
{{- end }}
