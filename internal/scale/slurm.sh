#!/usr/bin/env bash
# Runs a job of shards on Slurm as Debian packages it: a controller and two nodes on this
# machine. Meanwhile a node and the controller are killed, the disk is full for a while, and
# a worker is stopped until another has done its shard. Then every image must be there once,
# with the bytes of one machine.
#
#   sudo internal/scale/slurm.sh        # as root; installs slurmctld, slurmd and munge
#
# It starts its own daemons on ports of its own, with all files in a temporary folder, and
# ends what it has started. EPSBALL=PATH takes that program instead of building one. Some ten minutes, mostly waiting: Slurm lets a task that was
# requeued wait for two.
set -euo pipefail
cd "$(dirname "$0")/../.."
images=${IMAGES:-10000} size=${SIZE:-250}
shards=$(((images + size - 1) / size))

if ! command -v slurmctld slurmd munged >/dev/null; then
	apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
fi
dir=$(mktemp -d /tmp/epsball-slurm-XXXXXX)
started=()
declare -A node
stop() {
	scancel --state=PENDING,RUNNING 2>/dev/null || true
	for pid in "${started[@]}" "${node[@]}" "${ctld:-}"; do
		[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null || true
	done
	umount "$dir/disk" 2>/dev/null || true
}
trap stop EXIT # the folder with all logs stays
say() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }

if [ -n "${EPSBALL:-}" ]; then
	cp "$EPSBALL" "$dir/epsball"
else
	CGO_ENABLED=0 go build -o "$dir/epsball" ./cmd/epsball
fi
export SLURM_CONF=$dir/slurm.conf
host=$(hostname)
cat >"$SLURM_CONF" <<EOF
ClusterName=epsball
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdLogFile=$dir/slurmd-%n.log
SlurmctldLogFile=$dir/slurmctld.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/linear
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdTimeout=20
KillWait=5
MaxArraySize=20001
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17818 CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17819 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
EOF
mkdir -p "$dir"/{state,spool-n1,spool-n2,disk,munge}
chmod 755 "$dir"
dd if=/dev/urandom of="$dir/munge/key" bs=1 count=1024 status=none
chmod 700 "$dir/munge" && chmod 400 "$dir/munge/key"
munged --force --foreground --key-file="$dir/munge/key" --socket="$dir/munge.socket" --pid-file="$dir/munge/pid" \
	--seed-file="$dir/munge/seed" --log-file="$dir/munge/log" 2>"$dir/munged.out" & started+=($!)
sleep 1
controller() { slurmctld -D >>"$dir/slurmctld.out" 2>&1 & ctld=$!; }
up() { slurmd -D -N "$1" >>"$dir/slurmd-$1.out" 2>&1 & node[$1]=$!; }
controller
sleep 2
up n1
up n2

# The job's folder is a small disk, so that it can be full.
mount -t tmpfs -o size=64m tmpfs "$dir/disk" 2>/dev/null || say "no tmpfs here: the disk will not be full"
job=$dir/disk/job
export EPSBALL=$dir/epsball EPSBALL_RETRIES=20
what=(certify --model builtin:mnist-small-ibp-0.1 --method crown-ibp --eps 0.1 --n "$images")
"$EPSBALL" shard plan "${what[@]}" --job "$job" --size "$size"
published() { find "$job/results" -name '*.jsonl' 2>/dev/null | wc -l; }
operator() { # what an administrator does after a controller was killed: it forgets what it began last
	scontrol show node | grep -q 'State=.*DRAIN' && for n in n1 n2; do scontrol update nodename=$n state=resume; done
	squeue -h -t pending -o '%F %r' | awk '/Held/ {print $1}' | sort -u | xargs -r scontrol release
}
until_published() { # at least so many, or a timeout
	for second in $(seq 1200); do
		[ "$(published)" -ge "$1" ] && return
		[ $((second % 10)) -ne 0 ] || operator >/dev/null 2>&1 || true
		sleep 1
	done
	say "stuck at $(published) of $shards"
	squeue
	tail -20 "$dir"/slurmctld.log
	exit 1
}
for _ in $(seq 60); do sinfo -h -t idle -o %n | grep -q . && break; sleep 1; done
sinfo
sbatch --array=0-$((shards - 1)) --cpus-per-task=1 --output="$dir/task-%a.log" deploy/slurm/shards.sbatch "$job"

until_published $((shards / 10))
say "$(published) published: node n2 dies, with what runs on it"
children() { for c in $(pgrep -P "$1"); do children "$c"; echo "$c"; done; }
lost=$(children "${node[n2]}"; pgrep -f "slurmstepd: \[.*\]" | while read -r p; do
	grep -qz "SLURMD_NODENAME=n2" "/proc/$p/environ" 2>/dev/null && echo "$p"; children "$p" | while read -r c; do
		grep -qz "SLURMD_NODENAME=n2" "/proc/$c/environ" 2>/dev/null && echo "$c"; done; done) || true
kill -9 "${node[n2]}" $lost 2>/dev/null || true

until_published $((shards / 5))
say "$(published) published: the controller dies for ten seconds"
kill -9 "$ctld"
sleep 10
controller

until_published $((shards * 3 / 10))
say "$(published) published: a worker is stopped, and its shard done by another"
victim=
for _ in $(seq 6000); do # one that is in the middle of it
	for journal in "$job"/scratch/*.journal; do
		[ -s "$journal" ] || continue
		index=$((10#$(basename "$journal" .journal | cut -d- -f2)))
		victim=$(pgrep -f "^$EPSBALL shard run .*--index $index " | head -1) && kill -STOP "$victim" && break 2
	done
	sleep 0.02
done
[ -n "$victim" ] || { say "no worker could be stopped"; exit 1; }
"$EPSBALL" shard run --job "$job" --index "$index"
kept=$(sha256sum "$job/results/$(printf %07d "$index").jsonl")
sleep "${STOPPED:-150}"
say "$(published) published: it is woken"
kill -CONT "$victim"
up n2

until_published $((shards / 2))
if mountpoint -q "$dir/disk"; then
	say "$(published) published: the disk is full for twenty seconds"
	dd if=/dev/zero of="$dir/disk/ballast" bs=64k status=none 2>/dev/null || true
	sleep 20
	rm "$dir/disk/ballast"
fi
until_published "$shards"
say "$(published) published: all"
[ "$kept" = "$(sha256sum "$job/results/$(printf %07d "$index").jsonl")" ] || { say "shard $index was changed"; exit 1; }

"$EPSBALL" shard status --job "$job"
"$EPSBALL" shard merge --job "$job" --out "$dir/merged.jsonl" --recheck 100
"$EPSBALL" "${what[@]}" --out "$dir/one.jsonl"
cmp "$dir/merged.jsonl" "$dir/one.jsonl"
echo "the worker that was stopped: $(grep -h '^result' "$dir/task-$index.log")"
grep -h 'requeue JobId' "$dir/slurmctld.log" || true
echo "tasks that Slurm or the script started again: $(grep -l 'requeued\|CANCELLED\|NODE FAIL' "$dir"/task-*.log | wc -l)"
echo "lines: $(wc -l <"$dir/merged.jsonl") of $images, each once: $(grep -o '"index":[0-9]*' "$dir/merged.jsonl" | sort -u | wc -l); the same bytes as one machine's"
