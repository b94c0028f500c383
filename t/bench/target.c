/*
 * target: what stands between the load and the origin: nothing, nginx or OmniRoute. Each with one
 * worker, pinned.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t/bench/bench.h"

void
pin(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(pid, sizeof(set), &set);
}

static int
free_port(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM, 0), port = -1;

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&sin, &len) == 0)
		port = ntohs(sin.sin_port);
	close(fd);
	return port;
}

static bool
answers(int port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	for (int i = 0; i < 5000; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		bool ok = connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0;

		close(fd);
		if (ok)
			return true;
		usleep(1000);
	}
	return false;
}

static pid_t
run(int cpu, const char *log, char *const argv[], const char *stdin_text)
{
	int in[2];
	pid_t pid;

	if (pipe(in) != 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		pin(0, cpu);
		dup2(in[0], 0);
		dup2(fd, 1);
		dup2(fd, 2);
		close(in[0]);
		close(in[1]);
		execv(argv[0], argv);
		_exit(127);
	}
	close(in[0]);
	if (stdin_text != NULL && write(in[1], stdin_text, strlen(stdin_text)) < 0)
		perror("write");
	close(in[1]);
	return pid;
}

/* The first child of a process: the one worker. */
static pid_t
child_of(pid_t pid)
{
	char path[64], line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	fclose(f);
	return atoi(line);
}

static int
write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (f == NULL)
		return -1;
	fputs(text, f);
	return fclose(f);
}

static int
nginx_start(struct target *t, int origin_port, int cpu)
{
	char conf[2048], path[160], log[160];

	snprintf(conf, sizeof(conf),
	    "daemon off; worker_processes 1; pid %s/nginx.pid; error_log %s/error.log crit; "
	    "worker_rlimit_nofile 60000;\n"
	    "events { worker_connections 30000; }\n"
	    "http { access_log off; client_body_buffer_size 128k; client_max_body_size 50m; "
	    "keepalive_requests 100000000;\n"
	    " client_body_temp_path %s/a; proxy_temp_path %s/b; fastcgi_temp_path %s/c; "
	    "uwsgi_temp_path %s/d;\n"
	    " scgi_temp_path %s/e;\n"
	    " upstream o { server 127.0.0.1:%d; keepalive 256; keepalive_requests 100000000; }\n"
	    " server { listen 127.0.0.1:%d backlog=4096; location / { proxy_pass http://o; "
	    "proxy_http_version 1.1;\n"
	    "  proxy_set_header Connection \"\"; proxy_buffering off; proxy_read_timeout 600s; } } "
	    "}\n",
	    t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, origin_port, t->port);
	if (write_file(t->dir, "nginx.conf", conf) != 0)
		return -1;
	snprintf(path, sizeof(path), "%s/nginx.conf", t->dir);
	snprintf(log, sizeof(log), "%s/log", t->dir);
	t->pid =
	    run(cpu, log, (char *[]){(char *)"/usr/sbin/nginx", (char *)"-c", path, NULL}, NULL);
	return answers(t->port) ? 0 : -1;
}

static int
omniroute_start(struct target *t, const char *build, int origin_port, int cpu)
{
	char conf[1024], bin[160], path[160], log[160];

	/* key, rate limit and accounting are on, as they are in use */
	snprintf(t->key, sizeof(t->key), "or-benchbenchbenchbenchbenchbenchbenchbench123");
	snprintf(conf, sizeof(conf),
	    "data_dir = \"%s/data\"\nworkers = 1\nlog_file = \"%s/error.log\"\nlisten "
	    "\"127.0.0.1:%d\" {}\n"
	    "max_connections = 30000\nrequire_api_key = true\n"
	    "connection \"bench\" { provider = \"local\" base_url = \"http://127.0.0.1:%d/v1\" key "
	    "= \"upstream-key\" }\n"
	    "connection \"other\" { provider = \"local\" dialect = \"anthropic-messages\" base_url "
	    "= \"http://127.0.0.1:%d/v1\" key = \"upstream-key\" }\n"
	    "key \"bench\" { key = \"%s\" rpm = 1000000 }\n",
	    t->dir, t->dir, t->port, origin_port, origin_port, t->key);
	if (write_file(t->dir, "omniroute.conf", conf) != 0)
		return -1;
	snprintf(bin, sizeof(bin), "%s/omniroute", build);
	snprintf(path, sizeof(path), "%s/omniroute.conf", t->dir);
	snprintf(log, sizeof(log), "%s/log", t->dir);
	t->pid = run(cpu, log, (char *[]){bin, (char *)"-q", (char *)"-c", path, NULL}, NULL);
	return answers(t->port) ? 0 : -1;
}

int
target_start(struct target *t, enum target_kind kind, const char *build, int origin_port, int cpu)
{
	static const char *const names[] = {"direct", "nginx", "OmniRoute"};
	int rc = 0;

	*t = (struct target){.kind = kind,
	    .name = names[kind],
	    .port = origin_port,
	    .model = kind == TARGET_OMNIROUTE ? "bench/m" : "m"};
	if (kind == TARGET_DIRECT)
		return 0;
	snprintf(t->dir, sizeof(t->dir), "/tmp/omniroute-bench.XXXXXX");
	if (mkdtemp(t->dir) == NULL)
		return -1;
	t->port = free_port();
	rc = kind == TARGET_NGINX ? nginx_start(t, origin_port, cpu)
				  : omniroute_start(t, build, origin_port, cpu);
	for (int i = 0; rc == 0 && i < 2000 && (t->worker = child_of(t->pid)) == 0; i++)
		usleep(1000);
	if (rc == 0 && t->worker == 0)
		rc = -1;
	if (rc == 0) {
		pin(t->worker, cpu);
		pin(t->pid, cpu == 0 ? 1 : 0); /* the master does not compete with its worker */
	}
	return rc;
}

void
target_stop(struct target *t)
{
	char cmd[200];

	if (t->pid > 0) {
		kill(t->pid, SIGTERM);
		waitpid(t->pid, NULL, 0);
	}
	if (t->dir[0] != '\0') {
		snprintf(cmd, sizeof(cmd), "rm -rf '%s'", t->dir);
		if (system(cmd) != 0)
			fprintf(stderr, "cannot remove %s\n", t->dir);
	}
}

static uint64_t
cpu_of(pid_t pid)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = pid > 0 ? fopen(path, "r") : NULL;
	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

uint64_t
target_worker_ns(const struct target *t)
{
	return cpu_of(t->worker);
}

uint64_t
target_cpu_ns(const struct target *t)
{
	return cpu_of(t->worker) + (t->worker != 0 ? cpu_of(t->pid) : 0);
}

void
target_memory(const struct target *t, uint64_t *rss_kb, uint64_t *pss_kb)
{
	char path[64], line[128];
	unsigned long long v;
	FILE *f;

	*rss_kb = *pss_kb = 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", t->worker);
	f = t->worker > 0 ? fopen(path, "r") : NULL;
	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "Rss: %llu", &v) == 1)
			*rss_kb = v;
		if (sscanf(line, "Pss: %llu", &v) == 1)
			*pss_kb = v;
	}
	fclose(f);
}
