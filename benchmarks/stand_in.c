/* A stand-in for ZooKeeper that answers as fast as the wire goes.
 *
 *   stand_in DATA_SIZE
 *
 * It listens on a free port of the loopback interface, prints the number of that port, and serves until its standard
 * input ends. A connect request gets a session, a ping a pong, the closing of a session its reply; anything else gets
 * the reply to a get, with DATA_SIZE bytes of data and the xid of the request. Who asks `srvr` first, as aiozk does, is
 * told a version. It knows no znodes: one thread, one epoll, no state but bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INPUT = 1 << 20, MAX_DATA = 1 << 20, HEADER = 20, STAT = 68, MAX_EVENTS = 64 };
enum { CLOSE_SESSION = -11, XID_PING = -2 };

struct peer {
    int fd;
    int greeted;      /* whether its connect request was answered */
    int writing;      /* whether epoll waits for room to write */
    int leaving;      /* whether it has closed its session: ZooKeeper hangs up then */
    size_t in, out, done;
    size_t capacity;  /* of `output` */
    char *output;
    char input[INPUT];
};

static const char about[] = "Zookeeper version: 3.8.0-stand-in\n";
static char *reply;
static size_t reply_size;
static int epoll;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t number(const char *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return ntohl(value);
}

static void put(char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, 4);
}

static void append(struct peer *peer, const void *data, size_t size) {
    if (peer->out + size > peer->capacity) {
        peer->capacity = 2 * (peer->out + size);
        peer->output = realloc(peer->output, peer->capacity);
        if (!peer->output)
            die("realloc");
    }
    memcpy(peer->output + peer->out, data, size);
    peer->out += size;
}

static void hang_up(struct peer *peer) {
    close(peer->fd); /* which takes it out of epoll */
    free(peer->output);
    free(peer);
}

/* Answer one frame; *size* bytes without the length. Returns 0 when it makes no sense. */
static int answer(struct peer *peer, const char *frame, size_t size) {
    if (!peer->greeted) {
        char response[4 + 37] = {0}; /* version, timeout, id, password, read-only */
        if (size < 28)
            return 0;
        put(response, 37);
        memcpy(response + 8, frame + 12, 4);
        put(response + 16, 1);
        put(response + 20, 16);
        append(peer, response, sizeof response);
        peer->greeted = 1;
        return 1;
    }
    if (size < 8)
        return 0;
    if ((int32_t)number(frame) == XID_PING || (int32_t)number(frame + 4) == CLOSE_SESSION) {
        char header[HEADER] = {0};
        put(header, HEADER - 4);
        memcpy(header + 4, frame, 4);
        append(peer, header, sizeof header);
        peer->leaving = (int32_t)number(frame + 4) == CLOSE_SESSION;
    } else {
        append(peer, reply, reply_size);
        memcpy(peer->output + peer->out - reply_size + 4, frame, 4);
    }
    return 1;
}

/* Send what is to be sent; returns 0 when the peer is gone, or may go. */
static int flush(struct peer *peer) {
    while (peer->done < peer->out) {
        ssize_t sent = send(peer->fd, peer->output + peer->done, peer->out - peer->done, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                return 0;
            break;
        }
        peer->done += (size_t)sent;
    }
    int unsent = peer->done < peer->out;
    if (!unsent)
        peer->done = peer->out = 0;
    if (unsent != peer->writing) {
        struct epoll_event event = {.events = unsent ? EPOLLOUT : EPOLLIN, .data.ptr = peer};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, peer->fd, &event) < 0)
            die("epoll_ctl");
        peer->writing = unsent;
    }
    return unsent || !peer->leaving;
}

/* Read, answer and send; returns 0 when the peer is gone. */
static int serve(struct peer *peer) {
    ssize_t got = recv(peer->fd, peer->input + peer->in, INPUT - peer->in, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    peer->in += (size_t)got;
    if (!peer->greeted && peer->in == 4 && !memcmp(peer->input, "srvr", 4)) {
        send(peer->fd, about, sizeof about - 1, MSG_NOSIGNAL);
        return 0;
    }
    size_t at = 0;
    while (peer->in - at >= 4) {
        size_t size = number(peer->input + at);
        if (size > INPUT - 4)
            return 0;
        if (peer->in - at - 4 < size)
            break;
        if (!answer(peer, peer->input + at + 4, size))
            return 0;
        at += 4 + size;
    }
    peer->in -= at;
    memmove(peer->input, peer->input + at, peer->in);
    return flush(peer);
}

static void welcome(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        die("calloc");
    peer->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void make_reply(size_t data_size) {
    reply_size = HEADER + 4 + data_size + STAT;
    reply = calloc(1, reply_size);
    if (!reply)
        die("calloc");
    put(reply, (uint32_t)(reply_size - 4));
    put(reply + 12, 1); /* the zxid is 1, and so are those of the Stat */
    put(reply + HEADER, (uint32_t)data_size);
    char *stat = reply + HEADER + 4 + data_size;
    put(stat + 4, 1);
    put(stat + 12, 1);
    put(stat + 52, (uint32_t)data_size);
    put(stat + 64, 1);
}

int main(int argc, char **argv) {
    long data_size = argc == 2 ? atol(argv[1]) : -1;
    if (data_size < 0 || data_size > MAX_DATA) {
        fprintf(stderr, "usage: stand_in DATA_SIZE (0 to %d)\n", MAX_DATA);
        return 2;
    }
    make_reply((size_t)data_size);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 64) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    struct epoll_event parent = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &parent) < 0)
        die("epoll");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct peer *peer = events[i].data.ptr;
            if (!peer)
                return 0;
            if (events[i].data.ptr == &listener)
                welcome(listener);
            else if (!(peer->writing ? flush(peer) : serve(peer)))
                hang_up(peer);
        }
    }
}
