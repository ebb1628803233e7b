package host

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// tree builds a root directory from lines "name: content" or "name -> link";
// \n, \t and \x00 in the content are escapes.
func tree(text string) fs.FS {
	m := fstest.MapFS{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, link, ok := strings.Cut(line, " -> "); ok {
			m[name] = &fstest.MapFile{Data: []byte(link), Mode: fs.ModeSymlink}
		} else if name, content, ok := strings.Cut(line, ": "); ok {
			// A colon is part of many names below /sys; ": " is of none.
			content = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\x00`, "\x00").Replace(content)
			m[name] = &fstest.MapFile{Data: []byte(content + "\n")}
		}
	}
	return m
}

// machines are made after real ones, cut down to what is read.
var machines = []struct {
	name     string
	arch     string
	allowed  []int
	data     string // data directory
	root     string
	want     string
	wantCPU  string
	memLimit int64 // 0 for none
}{
	{
		name:    "Intel laptop",
		arch:    "amd64",
		allowed: []int{0, 1, 2, 3},
		data:    "/home/me/iopath",
		root: `
			proc/version: Linux version 6.12.5-amd64 (debian-kernel@lists.debian.org) (gcc #9) #1 SMP PREEMPT_DYNAMIC Debian 6.12.5-1 (2024-12-15)
			proc/cmdline: BOOT_IMAGE=/vmlinuz root=/dev/nvme0n1p2 quiet preempt=full
			proc/cpuinfo: processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz\ncpu MHz\t\t: 800.02\ncache size\t: 8192 KB\nflags\t\t: fpu vme vmx\n
			proc/meminfo: MemTotal:       16226104 kB\nSwapTotal:       8388604 kB
			proc/self/mountinfo: 22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n40 22 259:3 / /home rw,nosuid,noatime shared:9 master:2 - ext4 /dev/nvme0n1p3 rw,data=journal,commit=30
			proc/self/cgroup: 0::/user.slice/user-1000.slice/session-2.scope
			sys/dev/block/259:3 -> ../../devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/nvme0n1p3
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/nvme0n1p3/partition: 3
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/size: 1000215216
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/queue/rotational: 0
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/queue/scheduler: [none] mq-deadline
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/queue/write_cache: write back
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/queue/read_ahead_kb: 128
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/nvme0n1/device -> ../../nvme0
			sys/devices/pci0000:00/0000:00:1d.0/0000:3c:00.0/nvme/nvme0/model: Samsung SSD 970 EVO 500GB               
			sys/devices/system/cpu/online: 0-7
			sys/devices/system/cpu/cpu0/cache/index0/level: 1
			sys/devices/system/cpu/cpu0/cache/index0/type: Data
			sys/devices/system/cpu/cpu0/cache/index0/size: 32K
			sys/devices/system/cpu/cpu0/cache/index3/level: 3
			sys/devices/system/cpu/cpu0/cache/index3/type: Unified
			sys/devices/system/cpu/cpu0/cache/index3/size: 8192K
			sys/devices/system/cpu/vulnerabilities/itlb_multihit: KVM: Mitigation: VMX disabled
			sys/devices/system/cpu/vulnerabilities/meltdown: Mitigation: PTI
			sys/devices/system/cpu/vulnerabilities/srbds: Not affected
			sys/devices/system/cpu/cpufreq/policy0/scaling_governor: powersave
			sys/devices/system/cpu/cpufreq/policy1/scaling_governor: powersave
			sys/devices/system/cpu/cpufreq/policy0/scaling_driver: intel_pstate
			sys/devices/system/cpu/intel_pstate/no_turbo: 1
			sys/devices/system/clocksource/clocksource0/available_clocksource: tsc hpet acpi_pm
			sys/class/dmi/id/sys_vendor: LENOVO
			sys/class/dmi/id/product_name: 20L7CTO1WW
			sys/kernel/mm/transparent_hugepage/enabled: [always] madvise never
			.dockerenv: left over`,
		want: `
			kernel: Linux 6.12.5-amd64 PREEMPT_DYNAMIC preempt=full
			fs: ext4 noatime,data=journal,commit=30
			device: nvme0n1 nvme 476.9GiB partition=3 rotational=0 scheduler=none write-cache=write-back model=Samsung SSD 970 EVO 500GB
			readahead: 128KiB
			llc: 8MiB
			mem: 15.5GiB
			swap: 8GiB
			thp: always
			mitigations: itlb_multihit=KVM: Mitigation: VMX disabled; meltdown=PTI
			virt: none; LENOVO 20L7CTO1WW
			cpus: 8 allowed=0-3
			governor: powersave driver=intel_pstate boost=off`,
		wantCPU: "Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz",
	},
	{
		name:    "AMD guest with control groups of version 1",
		arch:    "amd64",
		allowed: []int{0, 1},
		data:    "/data",
		root: `
			proc/version: Linux version 6.18.44 (builder@host) (gcc (GCC) 15.3.0) #1 SMP PREEMPT_DYNAMIC @0
			proc/cmdline: console=ttyS0 quiet
			proc/cpuinfo: processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2596.140\ncache size\t: 1024 KB\nflags\t\t: fpu hypervisor
			proc/meminfo: MemTotal:       24684084 kB\nSwapTotal:             0 kB
			proc/self/mountinfo: 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
			proc/self/cgroup: 4:memory:/a/b\n1:cpu,cpuacct:/a\n0::/
			sys/fs/cgroup/memory/memory.limit_in_bytes: 9223372036854771712
			sys/fs/cgroup/memory/a/memory.limit_in_bytes: 1073741824
			sys/fs/cgroup/memory/a/b/memory.limit_in_bytes: 9223372036854771712
			sys/fs/cgroup/cpu/cpu.cfs_quota_us: -1
			sys/fs/cgroup/cpu/a/cpu.cfs_quota_us: 150000
			sys/fs/cgroup/cpu/a/cpu.cfs_period_us: 100000
			sys/dev/block/254:0 -> ../../devices/pci0000:00/0000:00:02.0/virtio1/block/vda
			sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/size: 536870912
			sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/queue/rotational: 1
			sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/queue/scheduler: none [mq-deadline] kyber bfq
			sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/queue/write_cache: write back
			sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/queue/read_ahead_kb: 8192
			sys/devices/system/cpu/online: 0-1
			sys/devices/system/cpu/cpu0/cache/index1/level: 1
			sys/devices/system/cpu/cpu0/cache/index1/type: Instruction
			sys/devices/system/cpu/cpu0/cache/index1/size: 32K
			sys/devices/system/cpu/cpu0/cache/index3/level: 3
			sys/devices/system/cpu/cpu0/cache/index3/type: Unified
			sys/devices/system/cpu/cpu0/cache/index3/size: 32768K
			sys/devices/system/cpu/vulnerabilities/meltdown: Not affected
			sys/devices/system/cpu/vulnerabilities/spec_rstack_overflow: Vulnerable: Safe RET, no microcode
			sys/devices/system/cpu/vulnerabilities/spectre_v2: Mitigation: Retpolines; STIBP: disabled; BHI: Not affected
			sys/devices/system/clocksource/clocksource0/available_clocksource: tsc kvm-clock
			sys/kernel/mm/transparent_hugepage/enabled: always [madvise] never
			.dockerenv: of the image`,
		want: `
			kernel: Linux 6.18.44 PREEMPT_DYNAMIC
			fs: ext4 relatime,discard
			device: vda virtio 256GiB rotational=1 scheduler=mq-deadline write-cache=write-back
			readahead: 8MiB
			llc: 32MiB
			mem: 23.5GiB limit=1GiB
			swap: none
			thp: madvise
			mitigations: spec_rstack_overflow=Vulnerable: Safe RET, no microcode; spectre_v2=Retpolines, STIBP: disabled
			virt: kvm
			cpus: 2 quota=1.5
			governor: none`,
		wantCPU:  "AMD EPYC",
		memLimit: 1 << 30,
	},
	{
		name: "arm64 guest with an encrypted disk",
		arch: "arm64",
		data: "/srv",
		root: `
			proc/version: Linux version 5.10.0 (x) (gcc) #1 SMP Thu Jan 1 00:00:00 UTC 2026
			proc/cpuinfo: processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\nCPU implementer\t: 0x41
			proc/meminfo: MemTotal:       7900000 kB
			proc/self/mountinfo: 22 1 253:1 / / rw,noatime - xfs /dev/mapper/root rw,attr2,inode64,logbufs=8,logbsize=32k,noquota
			proc/device-tree/hypervisor/compatible: linux,kvm\x00
			sys/dev/block/253:1 -> ../../devices/virtual/block/dm-1
			sys/devices/virtual/block/dm-1/dm/uuid: CRYPT-LUKS2-0123-root
			sys/devices/virtual/block/dm-1/size: 209715200
			sys/devices/virtual/block/dm-1/slaves/nvme0n1p1/dev: 259:1
			sys/devices/virtual/block/dm-1/queue/read_ahead_kb: 0
			sys/devices/system/cpu/online: 0-1
			sys/devices/system/cpu/vulnerabilities/meltdown: Not affected
			sys/class/dmi/id/sys_vendor: Amazon EC2
			sys/class/dmi/id/product_name: c7g.large`,
		want: `
			kernel: Linux 5.10.0
			fs: xfs noatime,logbufs=8,logbsize=32k
			device: dm-1 crypt 100GiB on=nvme0n1p1
			readahead: 0B
			mem: 7.5GiB
			mitigations: not affected
			virt: kvm; Amazon EC2 c7g.large
			cpus: 2
			governor: none`,
	},
	{
		name:    "container with control groups of version 2",
		arch:    "amd64",
		allowed: []int{4, 5, 6, 7, 9},
		data:    "/my data",
		root: `
			proc/version: Linux version 6.8.0-45-generic (buildd@lcy02) (gcc) #45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 12:02:04 UTC 2024
			proc/cpuinfo: processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu hypervisor
			proc/meminfo: MemTotal:       65000000 kB\nSwapTotal: 4194304 kB
			proc/self/mountinfo: 500 400 0:70 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A,upperdir=/var/lib/docker/overlay2/u\n510 500 0:28 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n520 500 0:80 / /my\040data rw,relatime - nfs4 server:/x rw,vers=4.2,rsize=1048576,addr=10.0.0.1
			proc/self/cgroup: 0::/
			sys/fs/cgroup/memory.max: 4294967296
			sys/fs/cgroup/memory.high: max
			sys/fs/cgroup/cpu.max: 200000 100000
			sys/class/bdi/0:80/read_ahead_kb: 128
			sys/devices/system/cpu/online: 0-15
			sys/devices/system/cpu/cpufreq/policy0/scaling_governor: schedutil
			sys/devices/system/cpu/cpufreq/policy1/scaling_governor: performance
			sys/devices/system/cpu/cpufreq/boost: 1
			sys/devices/system/clocksource/clocksource0/available_clocksource: hyperv_clocksource_tsc_page acpi_pm
			sys/class/dmi/id/sys_vendor: Microsoft Corporation
			sys/class/dmi/id/product_name: Virtual Machine
			.dockerenv: -`,
		want: `
			kernel: Linux 6.8.0-45-generic PREEMPT_DYNAMIC
			fs: nfs4 relatime,vers=4.2,rsize=1048576
			readahead: 128KiB
			mem: 62GiB limit=4GiB
			swap: 4GiB
			virt: hyperv; Microsoft Corporation Virtual Machine; container=docker
			cpus: 16 allowed=4-7,9 quota=2
			governor: performance,schedutil boost=on`,
		wantCPU:  "AMD EPYC 7763 64-Core Processor",
		memLimit: 4 << 30,
	},
	{
		name: "pod whose group is seen from outside, on btrfs",
		arch: "loong64",
		data: "/data/x",
		root: `
			proc/version: Linux version 6.6.0 (x) (gcc) #1 SMP PREEMPT_RT Fri Aug 30 12:02:04 UTC 2024
			proc/cpuinfo: processor\t: 0\nModel Name\t: Loongson-3A5000\nCPU MHz\t\t: 2500.00
			proc/self/mountinfo: 500 400 0:70 / / rw - overlay overlay rw\n510 500 0:28 /kubepods/pod1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n520 500 0:35 /sub /data rw,relatime - btrfs /dev/sda2 rw,compress=zstd:3,ssd,space_cache=v2,subvol=/sub
			proc/self/cgroup: 3:memory:/kubepods/pod1/c1
			sys/fs/cgroup/memory/memory.limit_in_bytes: 2147483648
			sys/fs/cgroup/memory/c1/memory.limit_in_bytes: 1610612736
			sys/class/bdi/0:36/read_ahead_kb: 128`,
		want: `
			kernel: Linux 6.6.0 PREEMPT_RT
			fs: btrfs relatime,compress=zstd:3,ssd
			virt: container=kubepods`,
		wantCPU:  "Loongson-3A5000 @ 2500.00MHz",
		memLimit: 1536 << 20,
	},
	{name: "nothing", arch: "amd64", allowed: []int{0}, data: "/", want: ""},
}

func TestFacts(t *testing.T) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			s := system{root: tree(m.root), arch: m.arch, allowed: m.allowed}
			mnt, _ := s.mount(m.data, 0)
			got := map[string]string{}
			for _, f := range s.facts(mnt) {
				got[f.Key] = f.Value
			}
			// The two that every process knows, and the number of CPUs where
			// only this test's own is known.
			if got["page-size"] != exactSize(int64(os.Getpagesize())) || got["cpus"] == "" {
				t.Errorf("page-size %q, cpus %q, want both", got["page-size"], got["cpus"])
			}
			delete(got, "page-size")
			if !strings.Contains(m.want, "cpus: ") {
				delete(got, "cpus")
			}
			for line := range strings.Lines(m.want) {
				key, want, ok := strings.Cut(strings.TrimSpace(line), ": ")
				if !ok {
					continue
				}
				if got[key] != want {
					t.Errorf("%s = %q, want %q", key, got[key], want)
				}
				delete(got, key)
			}
			for key, value := range got {
				t.Errorf("%s = %q, want it absent", key, value)
			}
			if got := s.cpuName(); got != m.wantCPU {
				t.Errorf("cpuName() = %q, want %q", got, m.wantCPU)
			}
			limit, ok := s.memLimit()
			if limit != m.memLimit || ok != (m.memLimit != 0) {
				t.Errorf("memLimit() = %d, %v, want %d", limit, ok, m.memLimit)
			}
		})
	}
}

func TestTransport(t *testing.T) {
	const dev = "sys/devices/"
	s := system{root: tree(dev + "virtual/block/md0/md/level: raid1")}
	for _, test := range []struct{ dir, want string }{
		{dev + "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "ata"},
		{dev + "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb", "usb"},
		{dev + "pci0000:00/0000:00:03.0/virtio0/host0/target0:0:1/0:0:1:0/block/sda", "virtio"},
		{dev + "virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "nvme"},
		{dev + "platform/soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0", "mmc"},
		{dev + "vbd-51712/block/xvda", "xen"},
		{dev + "virtual/block/loop12", "loop"},
		{dev + "virtual/block/dm-0", "dm"},
		{dev + "virtual/block/md0", "raid1"},
		{dev + "pci0000:00/0000:00:1f.2/host0/target0:0:0/0:0:0:0/block/sda", ""},
	} {
		if got := s.transport(test.dir); got != test.want {
			t.Errorf("transport(%s) = %q, want %q", test.dir, got, test.want)
		}
	}
}

func TestContainer(t *testing.T) {
	const overlay = "\nproc/self/mountinfo: 5 4 0:70 / / rw - overlay overlay rw,lowerdir=/var/lib/containerd/io/1"
	const disk = "\nproc/self/mountinfo: 5 4 8:1 / / rw - ext4 /dev/sda1 rw"
	const inDisk = "\nproc/self/mountinfo: 5 4 8:1 /containers/1 / rw - ext4 /dev/sda1 rw"
	for _, test := range []struct{ name, root, want string }{
		{"no mounts", ".dockerenv: -", ""},
		{"image booted from a disk", ".dockerenv: -" + disk, ""},
		{"docker", ".dockerenv: -" + overlay, "docker"},
		{"podman on a directory", "run/.containerenv: -" + inDisk, "podman"},
		{"nspawn on a disk of its own", "run/systemd/container: systemd-nspawn" + disk, "systemd-nspawn"},
		{"no marker", overlay, "containerd"},
		{"live system", "proc/self/mountinfo: 5 4 0:70 / / rw - overlay overlay rw,lowerdir=/run/live", ""},
	} {
		if got := (system{root: tree(test.root)}).container(); got != test.want {
			t.Errorf("%s: container() = %q, want %q", test.name, got, test.want)
		}
	}
}
