// Makes a one-time sign-in link for a person and shows it, once.

import { Button, Modal } from "antd";
import { useState } from "react";
import { post } from "../../api/client";
import type { SigninLink, User } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { useAction } from "../useAction";

interface Props {
  user: User | null;
  onClose: () => void;
}

export function SigninLinkDialog({ user, onClose }: Props) {
  const { text, format } = useWords();
  const words = text.users;
  const { run, isBusy } = useAction();
  const [made, setMade] = useState<{ userId: number; link: SigninLink } | null>(null);
  const link = made && user && made.userId === user.id ? made.link : null;

  const make = () =>
    run(async () => {
      if (!user) return;
      const answer = await post<SigninLink>(`/api/users/${user.id}/signin-link/`);
      setMade({ userId: user.id, link: answer });
    });
  const close = () => {
    setMade(null);
    onClose();
  };
  return (
    <Modal
      open={user !== null}
      title={`${words.link}: ${user?.display_name || user?.username}`}
      footer={<Button onClick={close}>{text.close}</Button>}
      onCancel={close}
      destroyOnHidden
    >
      <p>{words.linkText}</p>
      {link ? (
        <>
          <CodeBlock code={link.url} label={words.link} />
          <p className="muted small">{words.linkUntil(format.relative(link.expires_at))}</p>
        </>
      ) : (
        <Button type="primary" loading={isBusy} onClick={() => void make()}>
          {words.makeLink}
        </Button>
      )}
    </Modal>
  );
}
