"""The verbs: each joins the rooms in one direction, env -> plan -> run -> verdict; an exit status."""
