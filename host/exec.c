/* librettos exec: a further program in a running domain. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "supervisor.h"

static const char help[] =
    "usage: librettos exec [OPTIONS] DOMAIN PROGRAM [ARGS...]\n"
    "\n"
    "Runs a further program in a running domain. The program must be in the domain's image; pack "
    "more\n"
    "into it with `librettos run --file` or `--package`. The exit status is the program's.\n"
    "\n"
    "  -e, --env K=V   set an environment variable; repeatable\n"
    "  -w, --workdir DIR  directory to start in (default: /)\n"
    "  -u, --user USER run the program as this user of the domain (default: root)\n"
    "  -t, --tty       give the program a terminal\n"
    "  -i, --interactive  (standard input is always passed on)\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"env", required_argument, NULL, 'e'},
    {"workdir", required_argument, NULL, 'w'},
    {"user", required_argument, NULL, 'u'},
    {"tty", no_argument, NULL, 't'},
    {"interactive", no_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

static int follow(int fd, const char *domain, const char *program, bool tty)
{
    struct attach a = {.fd = fd, .with_stdin = true, .tty = tty && isatty(STDIN_FILENO)};
    int status = STATUS_OURS;

    if (attach_run(&a) == 0) {
        status = reply_status(a.reply);
        if (!status)
            status = (int)json_integer_value(json_object_get(a.reply, "status"));
    }
    if (a.has_exit && a.exit.kind == CTL_EXIT_EXEC && status == STATUS_NOTFOUND)
        warn(
            "%s is not in the image of domain %s; pack it with `librettos run --file` or --package",
            program, domain);
    else if (a.has_exit && a.exit.kind == CTL_EXIT_EXEC)
        warn("%s cannot be started in domain %s: %s", program, domain, strerror((int)a.exit.value));
    json_decref(a.reply);
    return status;
}

int cmd_exec(int argc, char **argv)
{
    struct strv env = {0}, extra = {0}, words = {0};
    const char *cwd = "/", *user = "";
    bool tty = false;
    int opt, status = -1, fd = -1;

    while (status < 0 && (opt = getopt_long(argc, argv, "+he:w:u:ti", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            status = 0;
        } else if (opt == 't' || opt == 'i') {
            tty |= opt == 't';
        } else if (opt == 'w') {
            cwd = optarg;
        } else if (opt == 'u') {
            user = optarg;
        } else if (opt != 'e' || add_env(&extra, optarg)) {
            status = STATUS_OURS;
        }
    }
    if (status < 0 && argc - optind < 2) {
        warn("usage: librettos exec DOMAIN PROGRAM [ARGS...]");
        status = STATUS_OURS;
    }
    if (status < 0) {
        const char *domain = argv[optind], *program = argv[optind + 1];
        default_env(&env, tty);
        for (size_t i = 0; i < extra.n; i++)
            add_env(&env, extra.v[i]);
        for (int i = optind + 1; i < argc; i++)
            strv_addf(&words, "%s", argv[i]);
        json_t *jargv = json_strings(&words), *jenv = json_strings(&env);
        json_t *rq = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:O*, s:O*}", "op", "exec",
                               "name", domain, "program", program, "cwd", cwd, "user", user, "tty",
                               (int)tty, "stdin", 1, "argv", jargv, "env", jenv);
        json_decref(jargv);
        json_decref(jenv);
        status = STATUS_OURS;
        fd = supervisor_connect(0);
        if (fd == -ENOENT)
            warn("no domain is running");
        if (fd >= 0 && rq && !send_request(fd, json_incref(rq)))
            status = follow(fd, domain, program, tty);
        json_decref(rq);
    }
    if (fd >= 0)
        close(fd);
    strv_free(&env);
    strv_free(&extra);
    strv_free(&words);
    return status;
}
