// Makes a token, then shows it this one time.

import { Checkbox, Form } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import type { Me, NewToken } from "../../api/shapes";
import { useWords } from "../../i18n";
import { MakeSecretDialog } from "../MakeSecretDialog";

interface Props {
  me: Me;
  isOpen: boolean;
  onClose: () => void;
}

const USUAL = { scopes: ["read", "write", "chat"] };

export function MakeTokenDialog({ me, isOpen, onClose }: Props) {
  const words = useWords().text.profile;
  const cache = useQueryClient();
  const scopes = [...USUAL.scopes, ...(me.role === "member" ? [] : ["admin"])];

  return (
    <MakeSecretDialog
      words={{
        ...words,
        make: words.makeToken,
        made: words.newToken,
        madeText: words.newTokenText,
        name: words.tokenName,
        nameNeeded: words.tokenNameNeeded,
      }}
      isOpen={isOpen}
      onClose={onClose}
      initial={USUAL}
      make={async (values) => {
        const { token } = await post<NewToken>("/api/tokens/", values);
        await cache.invalidateQueries({ queryKey: ["tokens"] });
        return token;
      }}
    >
      <Form.Item
        name="scopes"
        label={words.scopes}
        rules={[{ required: true, type: "array", min: 1, message: words.scopesNeeded }]}
      >
        <Checkbox.Group
          style={{ flexDirection: "column", gap: 4 }}
          options={scopes.map((value) => ({ value, label: words.scope[value] }))}
        />
      </Form.Item>
    </MakeSecretDialog>
  );
}
