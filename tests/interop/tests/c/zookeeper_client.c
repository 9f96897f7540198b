/* What the C client of ZooKeeper does against a server: ./client host:port. Prints a line a step; ends with 0 if all
 * came out as Apache answers it. Compiled and run by zookeeper_clients.rs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

static volatile int connected, fired_type, fired_count;
static char fired_path[256];

#define CHECK(what, got, expect) \
    do { \
        int g_ = (got), e_ = (expect); \
        printf("%s: %s\n", what, zerror(g_)); \
        if (g_ != e_) { fprintf(stderr, "%s: %d instead of %d\n", what, g_, e_); exit(1); } \
    } while (0)

#define HOLDS(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); exit(1); } } while (0)

static void watcher(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh; (void)context;
    if (type == ZOO_SESSION_EVENT) {
        connected = state == ZOO_CONNECTED_STATE;
    } else {
        snprintf(fired_path, sizeof fired_path, "%s", path);
        fired_type = type;
        fired_count++;
    }
}

/* Waits for a condition that the client's threads bring about. */
#define AWAIT(condition) \
    do { for (int i_ = 0; i_ < 1000 && !(condition); i_++) usleep(10000); HOLDS(condition); } while (0)

static zhandle_t *open_session(const char *host) {
    connected = 0;
    zhandle_t *zh = zookeeper_init(host, watcher, 10000, NULL, NULL, 0);
    HOLDS(zh != NULL);
    AWAIT(connected);
    return zh;
}

int main(int argc, char **argv) {
    char name[256], data[64];
    int len = sizeof data;
    struct Stat stat;
    HOLDS(argc == 2);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zh = open_session(argv[1]);

    CHECK("create", zoo_create(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name), ZOK);
    CHECK("create again", zoo_create(zh, "/c", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name), ZNODEEXISTS);
    CHECK("watch", zoo_wexists(zh, "/c/e", watcher, NULL, &stat), ZNONODE);
    CHECK("ephemeral", zoo_create2(zh, "/c/e", "e", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, name, sizeof name, &stat), ZOK);
    HOLDS(stat.ephemeralOwner == zoo_client_id(zh)->client_id);
    AWAIT(fired_count == 1 && fired_type == ZOO_CREATED_EVENT && strcmp(fired_path, "/c/e") == 0);
    CHECK("sequence", zoo_create(zh, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, name, sizeof name), ZOK);
    HOLDS(strcmp(name, "/c/s-0000000001") == 0);
    CHECK("get", zoo_get(zh, "/c", 0, data, &len, &stat), ZOK);
    HOLDS(len == 3 && memcmp(data, "one", 3) == 0 && stat.version == 0 && stat.numChildren == 2);
    CHECK("set", zoo_set2(zh, "/c", "two", 3, 0, &stat), ZOK);
    HOLDS(stat.version == 1);
    CHECK("set, wrong version", zoo_set(zh, "/c", "no", 2, 0), ZBADVERSION);
    CHECK("null data", zoo_set(zh, "/c/e", NULL, -1, -1), ZOK);
    len = sizeof data;
    CHECK("get null", zoo_get(zh, "/c/e", 0, data, &len, &stat), ZOK);
    HOLDS(len == -1);

    struct String_vector children;
    CHECK("children", zoo_get_children2(zh, "/c", 0, &children, &stat), ZOK);
    HOLDS(children.count == 2);
    deallocate_String_vector(&children);

    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    zoo_create_op_init(&ops[0], "/c/m", "m", 1, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name);
    zoo_check_op_init(&ops[1], "/c", 1);
    zoo_set_op_init(&ops[2], "/c", "three", 5, 1, &stat);
    CHECK("multi", zoo_multi(zh, 3, ops, results), ZOK);
    HOLDS(stat.version == 2);
    CHECK("refused multi", zoo_multi(zh, 3, ops, results), ZNODEEXISTS);
    HOLDS(results[0].err == ZNODEEXISTS && results[1].err == ZRUNTIMEINCONSISTENCY);

    struct ACL_vector acl;
    CHECK("auth", zoo_add_auth(zh, "digest", "u:p", 3, NULL, NULL), ZOK);
    CHECK("set acl", zoo_set_acl(zh, "/c/m", -1, &ZOO_CREATOR_ALL_ACL), ZOK);
    CHECK("get acl", zoo_get_acl(zh, "/c/m", &acl, &stat), ZOK);
    HOLDS(acl.count == 1 && strcmp(acl.data[0].id.scheme, "digest") == 0 && stat.aversion == 1);
    deallocate_ACL_vector(&acl);

    CHECK("close", zookeeper_close(zh), ZOK);

    zhandle_t *other = open_session(argv[1]);
    CHECK("ephemeral is gone", zoo_exists(other, "/c/e", 0, &stat), ZNONODE);
    CHECK("protected", zoo_get(other, "/c/m", 0, data, &len, &stat), ZNOAUTH);
    CHECK("close", zookeeper_close(other), ZOK);
    return 0;
}
