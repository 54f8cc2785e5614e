#!/usr/bin/env bash
# A real S3 store on one machine, for tests: Ceph's gateway over one monitor, one manager and one OSD that keeps all in memory.
#   apt-get install --no-install-recommends radosgw ceph-mon ceph-osd ceph-mgr ceph-common      (Debian 12: Ceph 16.2)
#   ceph-rgw.sh start FOLDER [PORT]     ceph-rgw.sh stop FOLDER
# It answers on http://127.0.0.1:PORT (default 23080) to the keys of tests/support/exports.py. Object Lock, versions and multipart work; encryption needs TLS.
set -euo pipefail
what=$1 folder=$2 port=${3:-23080}

stop() {  # the OSD takes a few seconds to end
  for file in "$folder"/out/*.pid; do [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null || true; done
}

start() {
  mkdir -p "$folder"; folder=$(cd "$folder" && pwd)
  rm -rf "${folder:?}"/{mon,mgr,osd,log,out,ceph.conf,keyring,monmap}; mkdir -p "$folder"/{mon,mgr,osd,log,out}
  export CEPH_CONF=$folder/ceph.conf
  local fsid uuid addresses="[v2:127.0.0.1:$((port + 1)),v1:127.0.0.1:$((port + 2))]"
  fsid=$(cat /proc/sys/kernel/random/uuid) uuid=$(cat /proc/sys/kernel/random/uuid)
  cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon_host = $addresses
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_client_mode = crc
ms_bind_ipv4 = true
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
log_file = $folder/log/\$name.log
admin_socket = $folder/out/\$name.\$pid.asok
pid_file = $folder/out/\$name.pid
run_dir = $folder/out
keyring = $folder/keyring
[mon.a]
mon_data = $folder/mon
[mgr.x]
mgr_data = $folder/mgr
[osd.0]
osd_objectstore = memstore
osd_data = $folder/osd
memstore_device_bytes = 2147483648
[client.admin]
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_enable_usage_log = false
CONF
  ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  ceph-authtool "$folder/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
  monmaptool --create --addv a "$addresses" --fsid "$fsid" "$folder/monmap" >/dev/null
  ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring" 2>/dev/null
  ceph-mon -i a
  ceph-mgr -i x
  ceph osd new "$uuid" >/dev/null
  ceph-osd -i 0 --mkfs --osd-uuid "$uuid" 2>/dev/null
  ceph-osd -i 0 2>/dev/null
  for _ in $(seq 60); do ceph osd stat 2>/dev/null | grep -q '1 up' && break; sleep 1; done
  setsid radosgw -f -n client.admin >"$folder/log/gateway.out" 2>&1 &
  echo $! >"$folder/out/radosgw.pid"
  for _ in $(seq 90); do [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/")" = 200 ] && break; sleep 1; done
  radosgw-admin user create --uid=audit --display-name=audit --access-key=made-up-key --secret-key=made-up-secret >/dev/null
  curl -sf -o /dev/null "http://127.0.0.1:$port/" && echo "S3 at http://127.0.0.1:$port"
}

"$what"
