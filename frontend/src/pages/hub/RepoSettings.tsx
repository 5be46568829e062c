// What who manages a repo sets: who sees it, who has its files, what it is called. And who asked.

import { Button, Drawer, Form, Input, Radio } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";
import { patch, post } from "../../api/client";
import { queries } from "../../api/queries";
import type { AccessWish, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";

interface Props {
  repo: RepoDetail;
  isOpen: boolean;
  onClose: () => void;
}

interface Values {
  visibility: RepoDetail["visibility"];
  gate: RepoDetail["gate"];
  id: string;
}

export function RepoSettings({ repo, isOpen, onClose }: Props) {
  const { text } = useWords();
  const words = text.hub.manage;
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();

  const save = ({ visibility, gate, id }: Values) =>
    run(async () => {
      if (visibility !== repo.visibility || gate !== repo.gate) {
        await patch(`/api/hub/repos/${repo.kind}/${repo.id}/`, { visibility, gate });
      }
      if (id !== repo.id) {
        await post("/api/repos/move", { fromRepo: repo.id, toRepo: id, type: repo.kind });
        await navigate(`/${repo.kind}s/${id}`);
      }
      await cache.invalidateQueries({ queryKey: ["repos"] });
      await cache.invalidateQueries({ queryKey: queries.repo(repo.kind, id).queryKey });
      onClose();
    }, words.saved);

  return (
    <Drawer
      open={isOpen}
      onClose={onClose}
      title={words.title(repo.id)}
      size="large"
      destroyOnHidden
    >
      <Form<Values>
        layout="vertical"
        initialValues={{ visibility: repo.visibility, gate: repo.gate, id: repo.id }}
        onFinish={(values) => void save(values)}
      >
        <Form.Item name="visibility" label={words.visibility}>
          <Radio.Group
            vertical
            options={[
              { value: "public", label: words.public },
              { value: "class", label: words.class },
              { value: "private", label: words.private },
            ]}
          />
        </Form.Item>
        <Form.Item name="gate" label={words.gate}>
          <Radio.Group
            vertical
            options={[
              { value: "", label: words.gateNone },
              { value: "auto", label: words.gateAuto },
              { value: "manual", label: words.gateManual },
            ]}
          />
        </Form.Item>
        <Form.Item name="id" label={words.rename} extra={words.renameHelp}>
          <Input className="mono" autoComplete="off" />
        </Form.Item>
        <Button type="primary" htmlType="submit" loading={isBusy}>
          {words.save}
        </Button>
      </Form>
      {repo.gate && <Requests repo={repo} />}
    </Drawer>
  );
}

function Requests({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub.manage;
  return (
    <section style={{ marginTop: 24 }}>
      <h3>{words.requests}</h3>
      {(["pending", "accepted", "rejected"] as const).map((state) => (
        <RequestList key={state} repo={repo} state={state} />
      ))}
    </section>
  );
}

function RequestList({ repo, state }: { repo: RepoDetail; state: AccessWish["status"] }) {
  const { text } = useWords();
  const words = text.hub.manage;
  const { run } = useAction();
  const cache = useQueryClient();
  const decide = (user: string, status: string) =>
    run(async () => {
      await post(`/api/${repo.kind}s/${repo.id}/user-access-request/handle`, { user, status });
      await cache.invalidateQueries({ queryKey: ["access", repo.kind, repo.id] });
    });
  return (
    <Loaded query={useQuery(queries.accessRequests(repo.id, repo.kind, state))}>
      {(wishes) => (
        <>
          {wishes.length === 0 && state === "pending" && (
            <p className="muted">{words.noRequests}</p>
          )}
          {wishes.map((wish) => (
            <div key={wish.requestId} className="row" style={{ marginBottom: 8 }}>
              <span>
                {wish.user.fullname} · {words.states[state]} · <RelativeTime iso={wish.timestamp} />
              </span>
              {state !== "accepted" && (
                <Button size="small" onClick={() => void decide(wish.user.user, "accepted")}>
                  {words.accept}
                </Button>
              )}
              {state !== "rejected" && (
                <Button size="small" onClick={() => void decide(wish.user.user, "rejected")}>
                  {words.reject}
                </Button>
              )}
            </div>
          ))}
        </>
      )}
    </Loaded>
  );
}
