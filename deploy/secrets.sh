#!/usr/bin/env bash
# Makes the passwords of docker-compose.yml, once: files in deploy/secrets, which git and the image's build ignore.
# To change one: remove its file and those that hold the same password (see below), run this again, recreate the
# services. PostgreSQL and Grafana take theirs at their first start only.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

random() { head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n'; }
sha256() { printf %s "$1" | sha256sum | cut -d' ' -f1; }

# Into a new file, whole or not at all. Containers run as users of their own and get the file itself, so it is readable
# by all; the directory, which they don't get, is the owner's.
keep() {
    local file=$1
    if [[ -e $file ]]; then
        cat >/dev/null
        echo "kept  $file"
        return
    fi
    cat >"$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
    echo "made  $file"
}

# ClickHouse knows the two passwords by their hashes; whoever uses one has it in plain.
together=(clickhouse_password analyst_password clickhouse_users.xml)
there=0
for file in "${together[@]}"; do [[ ! -e $file ]] || there=$((there + 1)); done
if ((there != 0 && there != ${#together[@]})); then
    echo "secrets: ${together[*]} belong together: keep or remove all of them" >&2
    exit 1
fi
hoplog=$(random)
analyst=$(random)
keep clickhouse_password <<<"$hoplog"
keep analyst_password <<<"$analyst"
keep clickhouse_users.xml <<EOF
<clickhouse>
    <users>
        <!-- For whoever is in the container: docker compose exec clickhouse clickhouse-client -->
        <default>
            <networks replace="replace">
                <ip>127.0.0.1</ip>
                <ip>::1</ip>
            </networks>
        </default>
        <hoplog>
            <password_sha256_hex>$(sha256 "$hoplog")</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </hoplog>
        <!-- Reads hoplog's tables, and of the server what dashboards and alerts ask: for dashboards and people. -->
        <analyst>
            <password_sha256_hex>$(sha256 "$analyst")</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>analyst</profile>
            <quota>default</quota>
            <grants>
                <query>GRANT SELECT ON hoplog.*</query>
                <query>GRANT SELECT ON system.disks</query>
                <query>GRANT SELECT ON system.errors</query>
                <query>GRANT SELECT ON system.parts</query>
            </grants>
        </analyst>
    </users>
    <profiles>
        <analyst>
            <!-- 2: reads only, but may set what does not lift a limit, as Grafana's plugin does. -->
            <readonly>2</readonly>
            <max_execution_time>60</max_execution_time>
            <max_memory_usage>1500000000</max_memory_usage>
            <constraints>
                <max_execution_time><max>60</max></max_execution_time>
                <max_memory_usage><max>1500000000</max></max_memory_usage>
            </constraints>
        </analyst>
    </profiles>
</clickhouse>
EOF

keep clickhouse_cluster.xml <<EOF
<clickhouse>
    <remote_servers>
        <hoplog>
            <secret>$(random)</secret>
        </hoplog>
    </remote_servers>
</clickhouse>
EOF

keep grafana_password <<<"$(random)"
keep postgres_password <<<"$(random)"
keep redis.conf <<EOF
requirepass $(random)
maxmemory 192mb
maxmemory-policy allkeys-lru
save ""
appendonly no
EOF
# The same passwords as hoplog takes them.
keep postgres_url <<<"postgres://hoplog:$(<postgres_password)@postgres:5432/hoplog"
keep redis_url <<<"redis://:$(sed -n 's/^requirepass //p' redis.conf)@redis:6379"
