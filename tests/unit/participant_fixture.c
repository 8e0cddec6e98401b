/* See participant_fixture.h. */
#include "participant_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "failpoint.h"

uint64_t fixture_now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void fixture_breathe(void) {
  (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* ---- the application ---- */

void app_enter(struct app *app, const struct vow_work *work) {
  int running = atomic_fetch_add(&app->running, 1) + 1;
  int most = atomic_load(&app->running_most);
  while (running > most && !atomic_compare_exchange_weak(&app->running_most, &most, running)) {
  }
  if (atomic_load(&app->nap_us) > 0) (void)usleep((useconds_t)atomic_load(&app->nap_us));
  unsigned slot = (unsigned)strtoul(work->transaction + 24, NULL, 16) % 64;
  pthread_mutex_lock(&app->lock);
  if (app->in_branch[slot]++ != 0) atomic_fetch_add(&app->same_branch_overlaps, 1);
  (void)snprintf(app->payload, sizeof app->payload, "%s", work->payload ? work->payload : "");
  app->thread = pthread_self();
  app->waiting++;
  pthread_cond_broadcast(&app->changed);
  while (app->hold) pthread_cond_wait(&app->changed, &app->lock);
  app->waiting--;
  app->in_branch[slot]--;
  pthread_mutex_unlock(&app->lock);
  atomic_fetch_sub(&app->running, 1);
}

static enum vow_vote on_prepare(void *context, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct app *app = context;
  atomic_fetch_add(&app->prepares, 1);
  app_enter(app, work);
  enum vow_vote vote = atomic_load(&app->vote);
  if (vote == VOW_VOTE_ABORT) vow_reason_set(reason, "no %s", "money");
  return vote;
}

static enum vow_error on_commit(void *context, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct app *app = context;
  atomic_fetch_add(&app->commits, 1);
  app_enter(app, work);
  enum vow_error error = atomic_load(&app->commit_error);
  if (error) vow_reason_set(reason, "not now");
  return error;
}

static enum vow_error on_abort(void *context, const struct vow_work *work,
                               struct vow_reason *reason) {
  struct app *app = context;
  atomic_fetch_add(&app->aborts, 1);
  app_enter(app, work);
  enum vow_error error = atomic_load(&app->abort_error);
  if (error) vow_reason_set(reason, "not now");
  return error;
}

void app_hold(struct app *app, bool hold) {
  pthread_mutex_lock(&app->lock);
  app->hold = hold;
  pthread_cond_broadcast(&app->changed);
  pthread_mutex_unlock(&app->lock);
}

void app_await_waiting(struct app *app, int count) {
  struct timespec deadline;
  (void)clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 10;
  int code = 0;
  pthread_mutex_lock(&app->lock);
  while (app->waiting < count && code == 0) {
    code = pthread_cond_timedwait(&app->changed, &app->lock, &deadline);
  }
  pthread_mutex_unlock(&app->lock);
  assert_int_equal(code, 0);
}

static struct app *make_app(void) {
  struct app *app =
      mmap(NULL, sizeof *app, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(app, MAP_FAILED);
  pthread_mutexattr_t lock;
  pthread_mutexattr_init(&lock);
  pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
  pthread_mutex_init(&app->lock, &lock);
  pthread_condattr_t cond;
  pthread_condattr_init(&cond);
  pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
  pthread_cond_init(&app->changed, &cond);
  atomic_store(&app->vote, VOW_VOTE_COMMIT);
  return app;
}

/* ---- the participant ---- */

int fixture_setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  assert_non_null(f);
  (void)snprintf(f->folder, sizeof f->folder, "/tmp/vow-test-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  (void)snprintf(f->path, sizeof f->path, "%s/votes", f->folder);
  f->app = make_app();
  f->coordinator = COORDINATOR;
  vow_participant_options_init(&f->options);
  if (getenv("VOW_TEST_NO_THREADS")) f->options.callback_threads = 0;
  f->options.log_path = f->path;
  f->options.prepare = on_prepare;
  f->options.commit = on_commit;
  f->options.abort = on_abort;
  f->options.context = f->app;
  *state = f;
  return 0;
}

static void remove_folder(const char *folder) {
  DIR *dir = opendir(folder);
  const struct dirent *entry = NULL;
  while (dir && (entry = readdir(dir)) != NULL) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    (void)unlink(path);
  }
  if (dir) (void)closedir(dir);
  (void)rmdir(folder);
}

int fixture_teardown(void **state) {
  struct fixture *f = *state;
  fixture_close(f);
  assert_int_equal(atomic_load(&f->app->same_branch_overlaps), 0);
  (void)munmap(f->app, sizeof *f->app);
  remove_folder(f->folder);
  free(f);
  return 0;
}

void fixture_open(struct fixture *f) {
  char why[256] = "";
  enum vow_error error = vow_participant_open(&f->participant, &f->options, why, sizeof why);
  if (error) fail_msg("open: %s: %s", vow_error_text(error), why);
}

void fixture_close(struct fixture *f) {
  vow_participant_close(f->participant);
  f->participant = NULL;
}

void fixture_reopen(struct fixture *f) {
  fixture_close(f);
  fixture_open(f);
}

void fixture_refuses(struct fixture *f, enum vow_error error, const char *said) {
  char why[256] = "";
  struct vow_participant *none = NULL;
  enum vow_error got = vow_participant_open(&none, &f->options, why, sizeof why);
  if (got != error) fail_msg("%s: %s", vow_error_text(got), why);
  assert_null(none);
  if (!strstr(why, said)) assert_string_equal(why, said);
}

/* ---- messages ---- */

const char *id_of(unsigned n) {
  static _Thread_local char texts[4][40];
  static _Thread_local unsigned turn;
  char *text = texts[turn++ % 4];
  (void)snprintf(text, sizeof texts[0], "01935e2a-0000-7000-8000-%012x", n);
  return text;
}

struct answer send_raw(struct fixture *f, const char *method, const char *path,
                       const char *content_type, const char *body) {
  struct vow_http_response response;
  struct answer answer = {.status = 0};
  struct vow_http_request request = {.method = method,
                                     .path = path,
                                     .content_type = content_type,
                                     .body = body,
                                     .body_bytes = body ? strlen(body) : 0};
  enum vow_error error = vow_participant_handle(f->participant, &request, &response);
  assert_int_equal(error == VOW_OK, response.status == 200);
  assert_int_equal(response.retry_after_s > 0, response.status == 503);
  assert_non_null(response.body);
  answer.status = response.status;
  (void)snprintf(answer.body, sizeof answer.body, "%s", response.body);
  vow_free(response.body);
  return answer;
}

void fixture_message(const struct fixture *f, char *body, size_t bytes, const char *type,
                     unsigned n, const char *below, const char *more) {
  bool prepare = strcmp(type, "prepare") == 0;
  (void)snprintf(body, bytes,
                 "{\"transaction\":\"%s\",\"branch\":1,\"coordinator\":\"%s\","
                 "\"finished_below\":\"%s\"%s%s}",
                 id_of(n), f->coordinator, below, prepare ? ",\"timeout_ms\":1000" : "", more);
}

static struct answer send(struct fixture *f, const char *type, unsigned n, const char *below,
                          const char *more) {
  char path[32], body[2048];
  (void)snprintf(path, sizeof path, "/%s", type);
  fixture_message(f, body, sizeof body, type, n, below, more);
  return send_raw(f, "POST", path, "application/json", body);
}

struct answer send_message(struct fixture *f, const char *type, unsigned n, const char *more) {
  return send(f, type, n, NO_WATERMARK, more);
}

struct answer send_below(struct fixture *f, const char *type, unsigned n, unsigned below) {
  return send_all(f, type, n, below, "");
}

struct answer send_all(struct fixture *f, const char *type, unsigned n, unsigned below,
                       const char *more) {
  return send(f, type, n, id_of(below), more);
}

/* ---- crashes ---- */

void fixture_killed_at(struct fixture *f, const char *failpoint,
                       void (*scenario)(struct fixture *f)) {
#ifdef VOW_FAILPOINTS
  pid_t child = fork();
  assert_int_not_equal(child, -1);
  if (child == 0) {
    char spec[64];
    (void)snprintf(spec, sizeof spec, "%s=kill", failpoint);
    vow_failpoint_arm(spec);
    fixture_open(f);
    scenario(f);
    _exit(1); /* it should not have come to this */
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    fail_msg("%s was not passed (status %d)", failpoint, status);
  }
#else
  (void)f;
  (void)failpoint;
  (void)scenario;
  skip();
#endif
}
