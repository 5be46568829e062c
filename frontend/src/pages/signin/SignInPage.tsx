// Where a person comes in: by password here, or by a one-time link from an operator.

import { Alert, Button, Form, Input } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Navigate, useNavigate, useSearchParams } from "react-router";
import { queries } from "../../api/queries";
import { signIn } from "../../api/session";
import { useWords } from "../../i18n";
import { sayError } from "../../i18n/said";
import { useTitle } from "../../widgets/useTitle";
import { LookSwitches } from "../shell/LookSwitches";

interface Values {
  username: string;
  password: string;
}

// Only an address of this studio: `//elsewhere` and `https://elsewhere` would lead a person away.
const safeNext = (wish: string | null) => (wish && /^\/(?![/\\])/.test(wish) ? wish : "/");

export function SignInPage() {
  const { text } = useWords();
  const words = text.home.signIn;
  const cache = useQueryClient();
  const navigate = useNavigate();
  const [params] = useSearchParams();
  const { data: me } = useQuery(queries.me());
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setIsBusy] = useState(false);
  const next = safeNext(params.get("next"));

  useTitle(words.title);

  if (me) return <Navigate to={next} replace />;

  const submit = async ({ username, password }: Values) => {
    setIsBusy(true);
    setError(null);
    try {
      await signIn(username.trim(), password);
      await cache.fetchQuery({ ...queries.me(), staleTime: 0 });
      await navigate(next, { replace: true });
    } catch (problem) {
      setError(problem);
    } finally {
      setIsBusy(false);
    }
  };

  return (
    <main className="signin">
      <div className="signin-window">
        <img src={`${import.meta.env.BASE_URL}athanor.svg`} alt="" width={54} height={54} />
        <p>{words.lead}</p>
      </div>
      <div className="signin-form">
        <h1>{words.title}</h1>
        {error !== null && (
          <Alert type="error" showIcon title={sayError(text, error)} style={{ marginBottom: 16 }} />
        )}
        <Form<Values>
          layout="vertical"
          requiredMark={false}
          scrollToFirstError={{ focus: true }}
          onFinish={submit}
        >
          <Form.Item
            name="username"
            label={words.username}
            rules={[{ required: true, message: words.usernameNeeded }]}
          >
            <Input autoComplete="username" autoFocus size="large" />
          </Form.Item>
          <Form.Item
            name="password"
            label={words.password}
            rules={[{ required: true, message: words.passwordNeeded }]}
          >
            <Input.Password autoComplete="current-password" size="large" />
          </Form.Item>
          <Button type="primary" htmlType="submit" size="large" block loading={isBusy}>
            {words.submit}
          </Button>
        </Form>
        <h2 className="section-title" style={{ marginTop: 28 }}>
          {words.linkTitle}
        </h2>
        <p className="muted" style={{ margin: 0 }}>
          {words.linkText}
        </p>
      </div>
      <LookSwitches className="signin-tools" />
    </main>
  );
}
