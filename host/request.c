/* The command's side of the supervisor's protocol: requests and replies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"
#include "supervisor.h"

json_t *json_strings(const struct strv *s)
{
    json_t *array = json_array();

    for (size_t i = 0; i < s->n; i++)
        if (json_array_append_new(array, json_string(s->v[i]))) {
            warn("not UTF-8 text: %s", s->v[i]);
            json_decref(array);
            return NULL;
        }
    return array;
}

int send_request(int fd, json_t *owned)
{
    char *text = json_dumps(owned, JSON_COMPACT);
    struct buf b = {0};
    int err = text ? 0 : -EINVAL;

    if (text && strlen(text) > CTL_MAX_PAYLOAD)
        err = -E2BIG;
    if (!err) {
        frame_put(&b, HOST_REQUEST, 0, text, strlen(text));
        err = write_all(fd, b.data, b.len);
    }
    if (err)
        warn("cannot send the request: %s",
             err == -E2BIG ? "the arguments and the environment are too long (64 KiB in all)"
                           : strerror(-err));
    buf_free(&b);
    free(text);
    json_decref(owned);
    return err;
}

int reply_status(json_t *reply)
{
    const char *error = json_string_value(json_object_get(reply, "error"));
    json_t *status = json_object_get(reply, "status");

    if (!error)
        return 0;
    warn("%s", error);
    return json_is_integer(status) ? (int)json_integer_value(status) : STATUS_OURS;
}

/* Reads frames until the reply. Domains that are described before it are put into it, as an array
 * "domains". NULL if the connection ends before. */
static json_t *read_reply(int fd)
{
    struct buf b = {0};
    struct frame f;
    json_t *reply = NULL, *domains = json_array();
    ssize_t n;

    while (!reply && (n = recv(fd, buf_reserve(&b, 65536), 65536, 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        b.len += (size_t)n;
        int err;
        while (!reply && (err = frame_next(&b, &f)) > 0) {
            json_t *o = json_loadb((const char *)f.payload, f.length, 0, NULL);
            if (f.type == HOST_REPLY)
                reply = json_incref(o);
            else
                json_array_append(domains, json_object_get(o, "domain"));
            json_decref(o);
        }
    }
    json_object_set(reply, "domains", domains);
    json_decref(domains);
    buf_free(&b);
    return reply;
}

json_t *simple_request(json_t *owned, bool quiet_none, int *status)
{
    int fd = supervisor_connect(0);
    json_t *reply = NULL;

    *status = STATUS_OURS;
    if (fd == -ENOENT) {
        if (quiet_none)
            *status = 0;
        else
            warn("no domain is running");
    }
    if (fd < 0) {
        json_decref(owned);
        return NULL;
    }
    if (!send_request(fd, owned)) {
        reply = read_reply(fd);
        if (!reply)
            warn("the supervisor ended the connection");
    }
    close(fd);
    if (reply && (*status = reply_status(reply)) != 0) {
        json_decref(reply);
        reply = NULL;
    }
    return reply;
}
