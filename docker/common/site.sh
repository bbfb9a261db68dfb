# Sourced: how this site reaches its registries, where it said so (pip's configuration outside the build).
set -a
[ ! -s /run/site ] || source /run/site
[ ! -s /etc/ssl/certs/ca-certificates.crt ] || SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
set +a
